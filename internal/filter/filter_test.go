package filter

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func parsed(t *testing.T, texts ...string) Set {
	t.Helper()
	s, err := Parse(texts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeysAndValuesAreReadAsDockerReadsThem(t *testing.T) {
	s := parsed(t, " Label = a=b ", "label=c", "label=c", "label!=d", "")
	if got := s.Values("label"); !slices.Equal(got, []string{"a=b", "c"}) {
		t.Errorf("label is %q", got)
	}
	if got := s.Values("label!"); !slices.Equal(got, []string{"d"}) {
		t.Errorf("label! is %q", got)
	}
	if err := s.Check("label", "label!"); err != nil {
		t.Error(err)
	}
	if err := s.Check("label"); err == nil || err.Error() != "invalid filter 'label!'" {
		t.Errorf("an unknown key: %v", err)
	}
	if _, err := Parse([]string{"dangling"}); err == nil || !strings.Contains(err.Error(), "expected name=value") {
		t.Errorf("a filter without value: %v", err)
	}
	if !s.Has("until", "label") || s.Has("until") || s.Empty() || !(Set{}).Empty() {
		t.Error("what is there isn't found, or what isn't is")
	}
}

func TestBool(t *testing.T) {
	for _, test := range []struct {
		texts []string
		unset bool
		want  bool
		fails bool
	}{
		{nil, true, true, false},
		{[]string{"dangling=1"}, false, true, false},
		{[]string{"dangling=false", "dangling=0"}, true, false, false},
		{[]string{"dangling=true", "dangling=false"}, false, false, true},
		{[]string{"dangling=yes"}, false, false, true},
	} {
		got, err := parsed(t, test.texts...).Bool("dangling", test.unset)
		if got != test.want || (err != nil) != test.fails {
			t.Errorf("%q, else %t: %t, %v", test.texts, test.unset, got, err)
		}
	}
	_, err := parsed(t, "dangling=yes").Bool("dangling", false)
	if err == nil || err.Error() != "invalid filter 'dangling=[yes]'" {
		t.Errorf("a truth that is none: %v", err)
	}
}

func TestLabelsMustAllHold(t *testing.T) {
	labels := map[string]string{"a": "1", "b": "", "c": "x=y"}
	for text, want := range map[string]bool{
		"label=a": true, "label=a=1": true, "label=a=2": false, "label=z": false,
		"label=b=": true, "label=c=x=y": true,
		"label=a label=b": true, "label=a label=z": false,
		"label!=a": false, "label!=z": true, "label!=a=2": true, "label!=a=1": false, "label=a label!=z": true,
		"label!=a label!=z": false,
	} {
		if got := parsed(t, strings.Fields(text)...).HasLabels(labels); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
	if parsed(t, "label=a").HasLabels(nil) || !(Set{}).HasLabels(nil) {
		t.Error("what has no labels isn't seen as such")
	}
}

func TestUntilIsASpanATimeOrSeconds(t *testing.T) {
	zone := time.FixedZone("east", 2*60*60)
	now := time.Date(2026, 2, 3, 4, 5, 6, 7, zone)
	for text, want := range map[string]time.Time{
		"until=1h30m":                       now.Add(-90 * time.Minute),
		"until=2026-01-31":                  time.Date(2026, 1, 31, 0, 0, 0, 0, zone),
		"until=2026-01-31Z":                 time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC),
		"until=2026-01-31T08":               time.Date(2026, 1, 31, 8, 0, 0, 0, zone),
		"until=2026-01-31T08:30":            time.Date(2026, 1, 31, 8, 30, 0, 0, zone),
		"until=2026-01-31T08:30:01":         time.Date(2026, 1, 31, 8, 30, 1, 0, zone),
		"until=2026-01-31T08:30:01Z":        time.Date(2026, 1, 31, 8, 30, 1, 0, time.UTC),
		"until=2026-01-31T08:30:01.5+01:00": time.Date(2026, 1, 31, 7, 30, 1, 500_000_000, time.UTC),
		"until=1136073600":                  time.Unix(1136073600, 0),
		"until=1136073600.000000001":        time.Unix(1136073600, 1),
		"until=1136073600.5":                time.Unix(1136073600, 500_000_000),
		"until=1h until=3h until=2h":        now.Add(-3 * time.Hour),
		"label=x":                           {},
	} {
		if got, err := parsed(t, strings.Fields(text)...).Until(now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"until=", "until=yesterday", "until=2026-13-01", "until=12.x", "until=1.-5"} {
		if _, err := parsed(t, text).Until(now); err == nil || !strings.Contains(err.Error(), "'"+text+"'") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
