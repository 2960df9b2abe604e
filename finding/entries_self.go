package finding

var selfEntries = []Entry{
	{
		Code: SelfClock, Severity: High, Title: "Clock of this machine is wrong",
		Explanation: "The clock went backwards or differs from the time that several servers report. Renewals go on; revoking, pruning and expiry alerts wait.",
		Remedy:      "Set the clock and make sure that it is kept in step.",
		Next:        "backstay doctor",
	},
	{
		Code: SelfDisk, Severity: High, Title: "Disk full or not writable",
		Explanation: "The state folder cannot be written, or little space is left there. Without it no new certificate can be kept.",
		Remedy:      "Free space or make the file system writable.",
		Next:        "backstay doctor",
	},
	{
		Code: SelfState, Severity: High, Title: "State is damaged or from another time",
		Explanation: "The store failed its integrity check, or is older than the last checkpoint of its own log, as after a restore.",
		Remedy:      "Restore the last backup, or let Backstay look again at what is on disk and served.",
		Next:        "backstay doctor",
	},
	{
		Code: SelfDependency, Severity: Medium, Title: "Something we depend on does not work",
		Explanation: "A resolver, proxy, command or service that Backstay needs for its work does not answer.",
		Remedy:      "Restore what the evidence names.",
		Next:        "backstay doctor",
	},
}
