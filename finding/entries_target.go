package finding

var targetEntries = []Entry{
	{
		Code: TargetDrift, Severity: Medium, Title: "Target changed behind our back",
		Explanation: "The files or the configuration of a target are not what Backstay put there. It does not overwrite what a person changed without being told.",
		Remedy:      "Look at the difference, then apply it or take it back.",
		Next:        "backstay plan",
	},
	{
		Code: TargetReloadFailed, Severity: High, Title: "Server did not reload",
		Explanation: "The new certificate is in place, and the server could not be told to read it. It serves the old one until it is reloaded.",
		Remedy:      "Reload the server by hand and correct the target's reload setting.",
		Next:        "backstay deploy NAME",
	},
	{
		Code: TargetRolledBack, Severity: High, Title: "Deployment rolled back",
		Explanation: "After the new certificate was put in force, a listener that had answered before failed or showed a wrong certificate. The previous one was put back.",
		Remedy:      "Read in the evidence what the listener showed; correct the server and deploy again.",
		Next:        "backstay deploy NAME",
	},
	{
		Code: TargetNotAtomic, Severity: Low, Title: "Swap at this target is not atomic",
		Explanation: "The server opens the certificate and the key by two paths. A server that starts between the two opens of a deployment could see a mixture for an instant.",
		Remedy:      "Let the server include the file that Backstay writes, which names both.",
		Next:        "backstay plan",
	},
	{
		Code: TargetNotVerified, Severity: Medium, Title: "Deployed, but not seen",
		Explanation: "The new certificate was deployed, and no listener could be looked at to see whether it is served.",
		Remedy:      "Give the target a verify list with addresses that can be reached from here.",
		Next:        "backstay deploy NAME",
	},
	{
		Code: TargetCheckFailed, Severity: High, Title: "Server refuses its configuration",
		Explanation: "The server's own configuration test failed, so nothing was changed. If it failed before our change, the server would not start after a reboot.",
		Remedy:      "Correct what the server's message in the evidence names.",
		Next:        "backstay deploy NAME",
	},
	{
		Code: TargetNotConfigured, Severity: Medium, Title: "Target does not use the certificate",
		Explanation: "The certificate is to be deployed to this target, and no part of the target's configuration serves its names.",
		Remedy:      "Add a server block for the names, or take the target out of the certificate's deploy list.",
		Next:        "backstay plan",
	},
}
