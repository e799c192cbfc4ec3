package build

import (
	"strings"
	"testing"

	"github.com/builder-oci/builder/storage/cache"
)

func TestAStepIsComparedWithWhatStoodInItsPlace(t *testing.T) {
	for name, c := range map[string]struct{ was, now, want string }{
		"unchanged":         {"FROM a;COPY x /;RUN y", "FROM a;COPY x /;RUN y", "FROM a;COPY x /;RUN y"},
		"edited":            {"FROM a;COPY x /;RUN y", "FROM a;COPY z /;RUN y", "FROM a;COPY x /;RUN y"},
		"inserted before":   {"FROM a;RUN y", "FROM a;RUN x;RUN y", "FROM a;;RUN y"},
		"removed before":    {"FROM a;RUN x;RUN y", "FROM a;RUN y", "FROM a;RUN y"},
		"config between":    {"FROM a;RUN y", "FROM a;ENV A=1;RUN y", "FROM a;;RUN y"},
		"another base":      {"FROM a;RUN y", "FROM b;RUN y", "FROM a;RUN y"},
		"other instruction": {"FROM a;RUN y", "FROM a;COPY y /", "FROM a;"},
		"two edited":        {"FROM a;RUN 1;COPY 2 /;RUN 3", "FROM a;RUN 4;COPY 5 /;RUN 3", "FROM a;RUN 1;COPY 2 /;RUN 3"},
		"moved":             {"FROM a;RUN 1;RUN 2", "FROM a;RUN 2;RUN 1", "FROM a;;RUN 1"},
		"nothing before":    {"", "FROM a;RUN y", ";"},
	} {
		var was []*cache.BuiltStep
		for _, text := range strings.Split(c.was, ";") {
			was = append(was, &cache.BuiltStep{Instruction: text})
		}
		var got []string
		for _, step := range align(was, strings.Split(c.now, ";")) {
			text := ""
			if step != nil {
				text = step.Instruction
			}
			got = append(got, text)
		}
		if s := strings.Join(got, ";"); s != c.want {
			t.Errorf("%s: %q, not %q", name, s, c.want)
		}
	}
}
