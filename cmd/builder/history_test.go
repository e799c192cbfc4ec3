package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/storage/layout"
)

func TestHistoryIsPrintedAsDockerDoes(t *testing.T) {
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	recent, early := now.Add(-54*time.Second), time.Date(1980, 1, 1, 0, 0, 1, 0, time.UTC)
	steps := []layout.Step{
		{History: v1.History{Created: &recent, CreatedBy: "nginx -g\tdaemon off;", Comment: "new page"}, Size: 95},
		{History: v1.History{Created: &early, CreatedBy: "CMD " + strings.Repeat("ä", 41)}},
		{History: v1.History{Created: &early, CreatedBy: "RUN a\n\x1b[31mb"}, Size: 4},
		{History: v1.History{CreatedBy: "RUN " + strings.Repeat("文", 21) + " # buildkit", Comment: "buildkit.dockerfile.v0"}, Size: 123_456_789},
	}
	img := layout.Image{ID: anID}
	at := func(moment time.Time) string { return time.Unix(moment.Unix(), 0).Format(time.RFC3339) }
	for _, test := range []struct {
		name, template, want string
		style                historyStyle
	}{
		{name: "the table", style: historyStyle{human: true}, template: `table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}`, want: `
IMAGE          CREATED          CREATED BY                                      SIZE      COMMENT
0123456789ab   54 seconds ago   nginx -g daemon off;                            95B       new page
<missing>      N/A              CMD ` + strings.Repeat("ä", 41) + `   0B        
<missing>      N/A              RUN a  [31mb                                    4B        
<missing>      N/A              RUN ` + strings.Repeat("文", 20) + `…                       123MB     buildkit.dockerfile.v0
`},
		{name: "whole and exact", style: historyStyle{whole: true}, template: `{{.ID}}|{{.CreatedAt}}|{{.CreatedSince}}|{{.CreatedBy}}|{{.Size}}`, want: `
` + anID.String() + `|` + at(recent) + `|` + at(recent) + `|nginx -g daemon off;|95
<missing>|` + at(early) + `|` + at(early) + `|CMD ` + strings.Repeat("ä", 41) + `|0
<missing>|` + at(early) + `|` + at(early) + `|RUN a` + "\n?[31mb" + `|4
<missing>|` + at(time.Unix(0, 0)) + `|` + at(time.Unix(0, 0)) + `|RUN ` + strings.Repeat("文", 21) + ` # buildkit|123456789
`},
		{name: "JSON", style: historyStyle{human: true}, template: "json", want: `
{"Comment":"new page","CreatedAt":"` + at(recent) + `","CreatedBy":"nginx -g daemon off;","CreatedSince":"54 seconds ago","ID":"0123456789ab","Size":"95B"}
`},
	} {
		test.style.now = now
		rows := historyRows(img, steps, test.style)
		if test.name == "JSON" {
			rows = rows[:1]
		}
		template, err := format.Parse(test.template, "")
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := format.Print(template, &out, historyHeadings, slices.Values(rows)); err != nil || "\n"+out.String() != test.want {
			t.Errorf("%s: %v\n%s\nnot:%s", test.name, err, &out, test.want)
		}
	}
}
