package finding

var servingEntries = []Entry{
	{
		Code: ServeNodesDiffer, Severity: High, Title: "Nodes serve different certificates",
		Explanation: "Different addresses, or repeated looks at one address, show different certificates for one name. One node was missed by the last renewal, or still runs with what it loaded before; its certificate will expire unnoticed.",
		Remedy:      "Deploy to the nodes that lag behind and reload them.",
		Next:        "backstay deploy NAME",
	},
	{
		Code: ServeNotNewest, Severity: High, Title: "Renewed, but the old certificate is served",
		Explanation: "A newer certificate exists for this name, and the server still serves an older one: it was not deployed, or the server was not reloaded.",
		Remedy:      "Deploy the newest certificate and reload the server.",
		Next:        "backstay deploy NAME",
	},
	{
		Code: ProbeUnreachable, Severity: High, Title: "Target does not answer",
		Explanation: "A target that was named, not found in a range, gave no TLS handshake. Nothing is known about its certificate.",
		Remedy:      "Check that the service runs, that its name resolves and that no firewall is in between.",
		Next:        "backstay scan TARGET",
	},
	{
		Code: FileKeyReadable, Severity: High, Title: "Private key readable by others",
		Explanation: "The file of a private key may be read by every user of the machine.",
		Remedy:      "Take the right to read from others (chmod o-rwx), and consider whether the key was copied.",
		Next:        "chmod o-rwx FILE",
	},
	{
		Code: FileKeyMismatch, Severity: High, Title: "Key does not belong to the certificate",
		Explanation: "The private key in or beside the certificate's file has another public key than the certificate. A server that loads both does not start.",
		Remedy:      "Put the right key or the right certificate there before the next restart.",
		Next:        "backstay deploy NAME",
	},
	{
		Code: FileUnreadable, Severity: Low, Title: "File could not be read",
		Explanation: "A file or folder that was to be searched could not be opened, is too large, or holds something that is announced as a certificate and is none. What it holds is not in the inventory.",
		Remedy:      "Give the right to read it, or leave it out of the scan.",
		Next:        "backstay scan PATH",
	},
}
