package stage

import (
	"testing"

	"github.com/builder-oci/builder/storage/cache"
)

func TestKeysTellInputsApart(t *testing.T) {
	lists := map[string][]cache.Input{
		"one":               {{Name: "a", Value: "b"}},
		"another value":     {{Name: "a", Value: "c"}},
		"another name":      {{Name: "b", Value: "b"}},
		"shifted boundary":  {{Name: "ab", Value: ""}},
		"order, first way":  {{Name: "a", Value: "1"}, {Name: "b", Value: "2"}},
		"order, second way": {{Name: "b", Value: "2"}, {Name: "a", Value: "1"}},
	}
	seen := map[string]string{}
	for name, inputs := range lists {
		key := keyOf("run", inputs).String()
		if other, dup := seen[key]; dup {
			t.Errorf("%s and %s have the same key", name, other)
		}
		seen[key] = name
		if keyOf("copy", inputs).String() == key {
			t.Errorf("%s: the kind isn't in the key", name)
		}
		if keyOf("run", inputs).String() != key {
			t.Errorf("%s: the key isn't stable", name)
		}
	}
}

func TestTwoExecutionsHaveTwoResults(t *testing.T) {
	key := keyOf("run", nil)
	if first, second := resultOf(key), resultOf(key); first == second {
		t.Error("two executions of one step have the same result")
	}
}

func TestEnvironmentValuesAreNotInRecords(t *testing.T) {
	in := envInput("env:", "TOKEN", "hunter2")
	if in.Name != "env:TOKEN" || in.Value == "hunter2" {
		t.Errorf("input %+v shows the value", in)
	}
}
