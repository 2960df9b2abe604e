package finding

import (
	"fmt"
	"strings"
)

// Reference renders the catalogue as the Markdown page docs/findings.md. The
// page is generated: a test compares it with this, so it cannot rot.
func Reference() string {
	var page strings.Builder
	page.WriteString("# Findings\n\n")
	page.WriteString("Generated from the catalogue in package finding by `go generate ./finding`; do not edit.\n\n")
	page.WriteString("Each finding has a stable code, which scripts may rely on. The severity is that of the usual case.\n\n")
	page.WriteString("| severity | means |\n|---|---|\n")
	for _, row := range [][2]string{
		{"critical", "an outage now, or certain soon"}, {"high", "an outage if nothing is done"},
		{"medium", "a weakness"}, {"low", "hygiene"}, {"info", "worth knowing"},
	} {
		fmt.Fprintf(&page, "| %s | %s |\n", row[0], row[1])
	}
	for _, area := range areas {
		fmt.Fprintf(&page, "\n## %s\n", area.title)
		for _, entry := range area.entries {
			writeEntry(&page, entry)
		}
	}
	return page.String()
}

func writeEntry(page *strings.Builder, entry Entry) {
	fmt.Fprintf(page, "\n### %s\n\n**%s** · %s\n\n%s\n\n", entry.Code, entry.Title, entry.Severity, entry.Explanation)
	fmt.Fprintf(page, "*What to do:* %s\n\n```sh\n%s\n```\n", entry.Remedy, entry.Next)
	if entry.Source != "" {
		fmt.Fprintf(page, "\n*Source:* %s\n", entry.Source)
	}
}
