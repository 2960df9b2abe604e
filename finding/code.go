package finding

// The codes. Every one has its entry in the catalogue; a test compares the two.
const (
	CertExpired            Code = "cert-expired"
	CertNotYetValid        Code = "cert-not-yet-valid"
	CertExpiring           Code = "cert-expiring"
	CertValidityTooLong    Code = "cert-validity-too-long"
	CertNameMismatch       Code = "cert-name-mismatch"
	CertNoSAN              Code = "cert-no-san"
	CertSelfSigned         Code = "cert-self-signed"
	CertUnparseable        Code = "cert-unparseable"
	CertNoServerAuth       Code = "cert-no-server-auth"
	ChainUntrustedRoot     Code = "chain-untrusted-root"
	ChainIncomplete        Code = "chain-incomplete"
	ChainIntermediateEnded Code = "chain-intermediate-expired"
	ChainNameConstraints   Code = "chain-name-constraints"
	ChainPathLength        Code = "chain-path-length"
	KeyWeak                Code = "key-weak"
	SigWeak                Code = "sig-weak"

	ServeNodesDiffer Code = "serve-nodes-differ"
	ServeNotNewest   Code = "serve-not-newest"
	ProbeUnreachable Code = "probe-unreachable"

	FileKeyReadable Code = "file-key-readable"
	FileKeyMismatch Code = "file-key-mismatch"
	FileUnreadable  Code = "file-unreadable"

	RenewOverdue  Code = "renew-overdue"
	RenewFailing  Code = "renew-failing"
	RenewDeadName Code = "renew-dead-name"

	TargetDrift         Code = "target-drift"
	TargetReloadFailed  Code = "target-reload-failed"
	TargetRolledBack    Code = "target-rolled-back"
	TargetNotAtomic     Code = "target-not-atomic"
	TargetNotVerified   Code = "target-not-verified"
	TargetCheckFailed   Code = "target-check-failed"
	TargetNotConfigured Code = "target-not-configured"

	AuthorityUnreachable      Code = "authority-unreachable"
	AuthorityRefused          Code = "authority-refused"
	AuthorityRateLimited      Code = "authority-rate-limited"
	AuthorityWrongCertificate Code = "authority-wrong-certificate"
	SolverFailed              Code = "solver-failed"

	SelfClock      Code = "self-clock"
	SelfDisk       Code = "self-disk"
	SelfState      Code = "self-state"
	SelfDependency Code = "self-dependency"
)
