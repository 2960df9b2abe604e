package finding

var renewalEntries = []Entry{
	{
		Code: RenewOverdue, Severity: High, Title: "Renewal overdue",
		Explanation: "A managed certificate should have been renewed by now: its renewal time plus a twelfth of its life has passed. Backstay goes on trying.",
		Remedy:      "Read the last error of its renewal and remove the cause.",
		Next:        "backstay show NAME",
	},
	{
		Code: RenewFailing, Severity: High, Title: "Renewal fails",
		Explanation: "The last attempts to renew failed. The certificate still lives; Backstay goes on trying, at other authorities too where they are configured.",
		Remedy:      "Read the first error of the attempt: it is the cause, later ones follow from it.",
		Next:        "backstay show NAME",
	},
	{
		Code: RenewDeadName, Severity: Critical, Title: "One name keeps the certificate from renewing",
		Explanation: "All names of the certificate but some can be validated. An authority issues for all names of an order or for none, so the others will expire with them.",
		Remedy:      "Repair the name's DNS or web server, or take the name out of the certificate; or set on_dead_name: split.",
		Next:        "backstay show NAME", Source: "RFC 8555 section 7.1.6",
	},
	{
		Code: AuthorityUnreachable, Severity: Medium, Title: "Certificate authority does not answer",
		Explanation: "The authority's directory could not be fetched, or its answers fail or time out. Renewals wait or go to the next authority.",
		Remedy:      "Check the way there (proxy, firewall, DNS) and the authority's status page.",
		Next:        "backstay doctor",
	},
	{
		Code: AuthorityRefused, Severity: High, Title: "Certificate authority refused the order",
		Explanation: "The authority answered and said no, for a reason that trying again does not remove.",
		Remedy:      "Read the authority's own words in the evidence; correct the names, the account or the CAA records.",
		Next:        "backstay show NAME", Source: "RFC 8555 section 6.7",
	},
	{
		Code: AuthorityRateLimited, Severity: Medium, Title: "Rate limit of the authority reached",
		Explanation: "The authority asks to wait. Backstay waits as told and uses the next authority when the wait is longer than the time left.",
		Remedy:      "Add a second authority; order fewer new name sets.",
		Next:        "backstay log tail NAME", Source: "RFC 8555 section 6.6",
	},
	{
		Code: AuthorityWrongCertificate, Severity: High, Title: "Authority issued something else than asked",
		Explanation: "The certificate that the authority sent does not fit the order: another key, other names, wrong dates or a chain that does not hold. It was not stored as usable and not deployed.",
		Remedy:      "Report it to the authority with the evidence; use another authority meanwhile.",
		Next:        "backstay show NAME", Source: "RFC 8555 section 7.4.2",
	},
	{
		Code: SolverFailed, Severity: High, Title: "Challenge could not be answered",
		Explanation: "Backstay set the answer to a challenge and could not see it from its own side, or could not set it at all. The authority would have failed too, so it was not asked.",
		Remedy:      "Check the web root, the port or the DNS server of the solver.",
		Next:        "backstay doctor", Source: "RFC 8555 section 8",
	},
}
