package places

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// document is where the table stands, between two lines that mark it.
const document = "../../docs/places.md"

const (
	tableBegin = "<!-- table: make test-places TESTFLAGS=-update -->\n"
	tableEnd   = "<!-- /table -->\n"
	tableHead  = "| place | isolation | storage | ids | network | COPY | RUN | owners in RUN | the same with --emulate-ids | /proc in RUN | containers | doctor |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|\n"
)

// table collects a row of every place.
var table rows

type rows struct {
	mu  sync.Mutex
	got []row
}

type row struct{ place, line string }

func (r *rows) add(t *testing.T, place string, got results) {
	c := got.choices(t)
	cells := []string{place, c.Isolation, c.Storage, c.Mapping, c.Network}
	for _, step := range steps {
		cells = append(cells, map[bool]string{true: "works", false: "no"}[got[step].code == 0])
	}
	cells = append(cells, fmt.Sprint(got.doctor(t).verdict()))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, row{place, "| " + strings.Join(cells, " | ") + " |"})
}

// finish prints the table, and holds the document's against it, or writes it.
func (r *rows) finish(update bool) error {
	if len(r.got) == 0 {
		return nil
	}
	fmt.Print("\n" + tableHead)
	for _, row := range r.got {
		fmt.Println(row.line)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	head, rest, _ := strings.Cut(string(text), tableBegin)
	old, tail, found := strings.Cut(rest, tableEnd)
	if !found {
		return fmt.Errorf("%s doesn't have the lines that mark its table", document)
	}
	made := r.merged(strings.TrimPrefix(old, tableHead))
	if made == strings.TrimPrefix(old, tableHead) {
		return nil
	}
	if update {
		return os.WriteFile(document, []byte(head+tableBegin+tableHead+made+tableEnd+tail), 0o644)
	}
	return fmt.Errorf("%s's table isn't what was measured: see, and run make test-places TESTFLAGS=-update", document)
}

// merged puts the rows that were measured into those that stand in the document.
func (r *rows) merged(old string) string {
	for _, row := range r.got {
		place := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(row.place) + ` \|.*\n`)
		if place.MatchString(old) {
			old = place.ReplaceAllLiteralString(old, row.line+"\n")
		} else {
			old += row.line + "\n"
		}
	}
	return old
}
