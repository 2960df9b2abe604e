package config

// MaxProblems is how many problems Load reports unless told otherwise.
const MaxProblems = 200

// The codes of every problem that Load can report. The finding for one has the
// code "config-" + Code.
const (
	AddressPort        Code = "address-port"
	ArgumentList       Code = "argument-list"
	AuthorityUnknown   Code = "authority-unknown"
	CertificateTwice   Code = "certificate-twice"
	ContactSyntax      Code = "contact-syntax"
	ControlCharacter   Code = "control-character"
	CredentialName     Code = "credential-name"
	DomainAddress      Code = "domain-address"
	DomainMissing      Code = "domain-missing"
	DomainSyntax       Code = "domain-syntax"
	DomainTwice        Code = "domain-twice"
	DomainWildcard     Code = "domain-wildcard"
	DuplicateKey       Code = "duplicate-key"
	DurationSyntax     Code = "duration-syntax"
	EmptyValue         Code = "empty-value"
	EntryTwice         Code = "entry-twice"
	FileExtension      Code = "file-extension"
	FileTooLarge       Code = "file-too-large"
	IgnoredKey         Code = "ignored-key"
	KeyElsewhere       Code = "key-elsewhere"
	KeyMissing         Code = "key-missing"
	ListExpected       Code = "list-expected"
	ListenSyntax       Code = "listen-syntax"
	MainFileOnly       Code = "main-file-only"
	ModeSyntax         Code = "mode-syntax"
	NameClash          Code = "name-clash"
	TargetTaken        Code = "target-taken"
	NameMissing        Code = "name-missing"
	NameSyntax         Code = "name-syntax"
	NetworkSyntax      Code = "network-syntax"
	NoAuthority        Code = "no-authority"
	NoSolver           Code = "no-solver"
	NotUTF8            Code = "not-utf8"
	NumberRange        Code = "number-range"
	OwnerSyntax        Code = "owner-syntax"
	PathRelative       Code = "path-relative"
	ReferenceTwice     Code = "reference-twice"
	ReferenceUndefined Code = "reference-undefined"
	ReloadString       Code = "reload-string"
	ReloadSyntax       Code = "reload-syntax"
	RenewSyntax        Code = "renew-syntax"
	SecretEnvironment  Code = "secret-environment"
	SecretPlain        Code = "secret-plain"
	SecretSource       Code = "secret-source"
	SolverForm         Code = "solver-form"
	TestAuthority      Code = "test-authority"
	TooManyProblems    Code = "too-many-problems"
	URLNotHTTPS        Code = "url-not-https"
	URLSyntax          Code = "url-syntax"
	UnitSyntax         Code = "unit-syntax"
	UnknownKey         Code = "unknown-key"
	UnknownValue       Code = "unknown-value"
	UnsupportedKey     Code = "unsupported-key"
	UnsupportedValue   Code = "unsupported-value"
	VerifySyntax       Code = "verify-syntax"
	VersionMissing     Code = "version-missing"
	VersionUnknown     Code = "version-unknown"
	WrongType          Code = "wrong-type"
	YAMLAlias          Code = "yaml-alias"
	YAMLComplexKey     Code = "yaml-complex-key"
	YAMLDepth          Code = "yaml-depth"
	YAMLDirective      Code = "yaml-directive"
	YAMLDocuments      Code = "yaml-documents"
	YAMLSyntax         Code = "yaml-syntax"
	YAMLTag            Code = "yaml-tag"
	YAMLWildcard       Code = "yaml-wildcard"
)

// message is what a code says. The format quotes text from the file with %q,
// which escapes what must not reach a terminal.
type message struct {
	format  string
	remedy  string
	warning bool
}

// messages is the catalogue; testdata/mistakes has a folder for each.
var messages = map[Code]message{
	AddressPort:        {format: "%s: %q is no ADDRESS:PORT", remedy: `write an IP address and a port in quotes: "192.0.2.53:53", "[2001:db8::53]:53"`},
	ArgumentList:       {format: "%s must be a command as a list, its program first", remedy: `write ["/usr/bin/program", "argument"]; no shell is involved`},
	AuthorityUnknown:   {format: "authority %q has no directory and is not known by name"},
	CertificateTwice:   {format: "two certificates are named %q; the other is at %s", remedy: "give one of them another name"},
	ContactSyntax:      {format: "contact %q is no mail address", remedy: "write the address alone: ops@example.com"},
	ControlCharacter:   {format: "%s holds a control character"},
	CredentialName:     {format: "%q is no name of a systemd credential", remedy: "write the name alone, as in LoadCredential=; for a path use {file: PATH}"},
	DomainAddress:      {format: "certificate %q has the IP address %s, and none of its solvers can prove an address", remedy: "add an http-01 or tls-alpn-01 solver; dns-01 proves names only (RFC 8738)"},
	DomainMissing:      {format: "the certificate has no domains", remedy: "add domains: [example.com]"},
	DomainSyntax:       {format: "domain %q: %s"},
	DomainTwice:        {format: "domain %q is listed twice in this certificate", remedy: "drop one; upper case, U-labels and A-labels of one name count as the same"},
	DomainWildcard:     {format: "certificate %q has the wildcard %s, and none of its solvers is of type dns-01", remedy: "add a dns-01 solver; no other challenge proves a wildcard (RFC 8555 section 7.1.3)"},
	DuplicateKey:       {format: "key %q is written twice; the first is at %s"},
	DurationSyntax:     {format: "%s: %q is no duration over zero", remedy: "write 30s, 5m, 6h or 90d"},
	EmptyValue:         {format: "%s is empty"},
	EntryTwice:         {format: "%s %q is defined twice; the first is at %s", remedy: "the main file and all of conf.d are one configuration"},
	FileExtension:      {format: "this file is not read: only conf.d/*.yaml is", remedy: "rename it to .yaml, or move it elsewhere", warning: true},
	FileTooLarge:       {format: "the file has more than %d MiB", remedy: "spread its certificates over conf.d/*.yaml"},
	IgnoredKey:         {format: "key %q is not supported by this version yet and is ignored", warning: true},
	KeyElsewhere:       {format: "key %q does not belong to %s %s"},
	KeyMissing:         {format: "%s needs %q"},
	ListExpected:       {format: "%s must be a list"},
	ListenSyntax:       {format: "listen %q is no [ADDRESS]:PORT", remedy: `write ":80", "127.0.0.1:8080" or "[::1]:8080"`},
	MainFileOnly:       {format: "key %q belongs into the main file", remedy: "files in conf.d hold authorities, solvers, targets and certificates"},
	ModeSyntax:         {format: "mode %s is no file mode in octal", remedy: `write three or four octal digits in quotes: "0640"`},
	TargetTaken:        {format: "certificate %q goes to the same files as %q at %s: target %q holds one pair", remedy: "give each certificate a files target of its own, or put their names into one certificate"},
	NameClash:          {format: "certificate %q cannot stand beside %q at %s: their files would have one name", remedy: "give one of them another name"},
	NameMissing:        {format: "the certificate needs a name: its first domain %q cannot serve as one", remedy: "add name: with letters a-z, digits, dot, underscore and hyphen"},
	NameSyntax:         {format: "%s %q is no name", remedy: "names begin with a-z or 0-9 and go on with a-z, 0-9, dot, underscore and hyphen, 200 characters at most"},
	NetworkSyntax:      {format: "%q is no network", remedy: `write "10.0.0.0/8" or "2001:db8::/32"`},
	NoAuthority:        {format: "certificate %q has no authority", remedy: "add one to the main file: authorities: {letsencrypt: {}}"},
	NoSolver:           {format: "certificate %q has no solver", remedy: "add one to the main file: solvers: {web: {type: http-01, webroot: /var/www/html}}"},
	NotUTF8:            {format: "the file is no UTF-8 text from this line on"},
	NumberRange:        {format: "%s must be between %d and %d"},
	OwnerSyntax:        {format: "owner %q is no USER or USER:GROUP"},
	PathRelative:       {format: "%s: %q does not begin with /", remedy: "write the whole path"},
	ReferenceTwice:     {format: "%s %q is listed twice"},
	ReferenceUndefined: {format: "%s %q is not defined"},
	ReloadString:       {format: "reload %q looks like a command; commands are lists, no shell is involved"},
	ReloadSyntax:       {format: "reload %q is neither unit:NAME, a list, nor none"},
	RenewSyntax:        {format: "renew %q is neither ari nor a fraction below one", remedy: `write ari, or the part of the life that is left at renewal: "1/3"`},
	SecretEnvironment:  {format: "a secret in an environment variable is seen by every child process", remedy: "prefer {file: PATH} or {credential: NAME}", warning: true},
	SecretPlain:        {format: "%s is a secret and must not be written out here", remedy: "put it into a file and write {file: PATH}, or {credential: NAME}, {exec: [PROGRAM]}, {env: NAME}"},
	SecretSource:       {format: "%s needs exactly one of file, credential, exec, env"},
	SolverForm:         {format: "http-01 needs exactly one of webroot, listen, stateless: true"},
	TestAuthority:      {format: "insecure_test_ca is for a CA on this host: %q is not loopback", remedy: "drop insecure_test_ca; a private CA uses https with directory_roots"},
	TooManyProblems:    {format: "%d further problems are not shown"},
	URLNotHTTPS:        {format: "%s %q must begin with https://"},
	URLSyntax:          {format: "%s: %q is no usable URL", remedy: "write scheme, host and path, without user or fragment"},
	UnitSyntax:         {format: "%q is no name of a systemd unit", remedy: `write "unit:nginx.service"`},
	UnknownKey:         {format: "unknown key %q in %s"},
	UnknownValue:       {format: "%s: unknown value %q"},
	UnsupportedKey:     {format: "key %q in %s is not supported by this version yet"},
	UnsupportedValue:   {format: "%s %q is not supported by this version yet"},
	VerifySyntax:       {format: "verify: %q is no place to look at", remedy: "write HOST, HOST:PORT, NAME@ADDRESS:PORT, or one with a scheme such as smtp://HOST:25"},
	VersionMissing:     {format: "version is missing", remedy: "begin the main file with version: 1"},
	VersionUnknown:     {format: "version %d is not known to this program", remedy: "write version: 1, or use a newer backstay"},
	WrongType:          {format: "%s must be %s, not %s"},
	YAMLAlias:          {format: "anchors, aliases and merge keys are not taken", remedy: "write the value out, or put it under defaults; text that begins with * or & needs quotes"},
	YAMLComplexKey:     {format: `keys that begin with "?" are not taken`},
	YAMLDepth:          {format: "lists and mappings are nested more than %d deep"},
	YAMLDirective:      {format: "YAML directives (%%) are not taken"},
	YAMLDocuments:      {format: "the file holds a second document", remedy: "one file is one document: drop the --- or use conf.d"},
	YAMLSyntax:         {format: "not valid YAML: %s"},
	YAMLTag:            {format: "YAML tags (!) are not taken", remedy: "text that begins with ! needs quotes"},
	YAMLWildcard:       {format: "a name that begins with * must be in quotes"},
}
