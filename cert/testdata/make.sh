#!/bin/sh
# Makes the fixtures of this folder with OpenSSL 3. They are kept, so that tests
# need no OpenSSL; run this again only to add one.
set -e
cd "$(dirname "$0")"
openssl genrsa -traditional -out rsa-pkcs1.key 2048
openssl pkcs8 -topk8 -nocrypt -in rsa-pkcs1.key -out rsa-pkcs8.key
openssl pkcs8 -topk8 -in rsa-pkcs1.key -passout pass:secret -out rsa-encrypted.key
openssl rsa -aes128 -traditional -in rsa-pkcs1.key -passout pass:secret -out rsa-old-encrypted.key
openssl ecparam -name secp384r1 -genkey -out ec-sec1.key
openssl genpkey -algorithm ed25519 -out ed25519.key
openssl genpkey -algorithm ed448 -out ed448.key
openssl req -x509 -new -key rsa-pkcs1.key -sha256 -days 30 -out plain.pem -utf8 -nameopt utf8 \
	-subj '/C=DE/ST=Bayern/L=München/O=Test, Inc. "quoted"\+more/OU= lead/OU=trail /DC=example/DC=com/emailAddress=ops@example.com/serialNumber=42/jurisdictionC=DE/CN=#plain;<x>' \
	-addext 'subjectAltName=DNS:example.com,DNS:*.example.com,IP:192.0.2.1,IP:2001:db8::1' \
	-addext 'tlsfeature=status_request' -addext 'authorityInfoAccess=OCSP;URI:http://ocsp.test/,caIssuers;URI:http://aia.test/' \
	-addext 'crlDistributionPoints=URI:http://crl.test/a.crl' -set_serial 0x00ff01
openssl x509 -in plain.pem -outform DER -out plain.der
openssl x509 -in plain.pem -trustout -addtrust serverAuth -out trusted.pem
openssl req -x509 -new -key ec-sec1.key -sha384 -days 30 -subj '/CN=ec/UID=u+OU=multi' -multivalue-rdn -set_serial 0 -out ec.pem
openssl req -x509 -new -key ed25519.key -days 30 -subj '/CN=ed' -out ed25519.pem
openssl req -x509 -new -key ed448.key -days 30 -subj '/CN=ed' -out ed448.pem
openssl req -x509 -new -key rsa-pkcs1.key -md5 -days 30 -subj '/CN=md5' -out md5.pem
openssl req -x509 -new -key rsa-pkcs1.key -sha1 -days 30 -subj '/CN=sha1' -out sha1.pem
openssl req -x509 -new -key rsa-pkcs1.key -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest -days 30 -subj '/CN=pss' -out pss.pem
openssl req -x509 -new -key rsa-pkcs1.key -days 30 -subj '/' -out empty-name.pem
openssl x509 -in plain.pem -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1 >plain.sha256
openssl x509 -in plain.pem -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1 >plain.spki.sha256
