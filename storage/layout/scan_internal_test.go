package layout

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestIndexIsReadAsTheStandardLibraryReadsIt(t *testing.T) {
	tests := map[string]struct {
		text string
		ok   bool
	}{
		"empty":            {emptyIndex, true},
		"no manifests":     {`{"schemaVersion":2}`, true},
		"null manifests":   {`{"manifests":null}`, true},
		"white space":      {" {\n\t\"manifests\" : [ { \"digest\" : \"sha256:a\" , \"size\" : 7 } ] }\r\n", true},
		"escapes":          {`{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"a\u00e9\"\\b"}}]}`, true},
		"escaped key":      {`{"manifests":[{"dig\u0065st":"sha256:a"}]}`, true},
		"unknown members":  {`{"x":[1,-2.5e3,true,false,null,{"y":"z"}],"manifests":[{"platform":{"os":"linux"},"data":"AA=="}]}`, true},
		"null annotations": {`{"manifests":[{"annotations":null}]}`, true},
		"nothing":          {``, false},
		"cut short":        {`{"manifests":[{"digest":"sha256:a"`, false},
		"cut in a string":  {`{"manifests":[{"digest":"sha2`, false},
		"cut in an escape": {`{"manifests":[{"digest":"sha2\`, false},
		"two values":       {`{} {}`, false},
		"trailing comma":   {`{"manifests":[],}`, false},
		"bare key":         {`{manifests:[]}`, false},
		"bad number":       {`{"schemaVersion":2.}`, false},
		"huge size":        {`{"manifests":[{"size":99999999999999999999}]}`, true},
		"fractional size":  {`{"manifests":[{"size":1.5}]}`, true},
		"no descriptor":    {`{"manifests":[5,"x",[],{"annotations":{"a":5}},{"digest":{}}]}`, true},
		"control":          {"{\"a\":\"\x01\"}", false},
		"manifests twice":  {`{"manifests":[],"manifests":[]}`, false},
		"array":            {`[]`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ix, err := parseIndex(tt.text)
			if (err == nil) != tt.ok {
				t.Fatalf("parseIndex: %v, want ok %v", err, tt.ok)
			}
			if err == nil {
				sameAsStandard(t, tt.text, ix)
			}
		})
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(emptyIndex)
	f.Add(`{"manifests":[{"mediaType":"m","digest":"sha256:a","size":1,"annotations":{"k":"v\n"},"x":[{}]}],"y":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // encoding/json replaces what isn't UTF-8
		}
		if ix, err := parseIndex(text); err == nil {
			sameAsStandard(t, text, ix)
			var written strings.Builder
			if err := ix.write(&written); err != nil {
				t.Fatal(err)
			}
			if _, err := parseIndex(written.String()); err != nil {
				t.Fatalf("what was written can't be read: %v\n%s", err, written.String())
			}
			if !ix.isText(written.String()) || ix.isText(written.String()+" ") || ix.isText(written.String()[1:]) {
				t.Fatalf("its text isn't known again, or another is: %s", written.String())
			}
		}
	})
}

// sameAsStandard compares with encoding/json what it reads of the same text. It
// knows keys in any case and the last of several; such texts aren't compared.
func sameAsStandard(t *testing.T, text string, ix *index) {
	t.Helper()
	var want struct {
		Manifests []v1.Descriptor `json:"manifests"`
	}
	if !json.Valid([]byte(text)) {
		t.Fatalf("read, though it isn't JSON: %q", text)
	}
	if json.Unmarshal([]byte(text), &want) != nil || len(want.Manifests) != len(ix.entries) {
		return
	}
	for i, m := range want.Manifests {
		got := ix.entries[i].descriptor()
		plain := v1.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size}
		var exact map[string]json.RawMessage
		if json.Unmarshal([]byte(ix.entries[i].raw), &exact) != nil || !hasExactly(exact, "mediaType", "digest", "size") {
			continue
		}
		if !reflect.DeepEqual(got, plain) {
			t.Errorf("descriptor %d: got %+v, want %+v", i, got, plain)
		}
	}
}

func hasExactly(members map[string]json.RawMessage, keys ...string) bool {
	for _, k := range keys {
		if _, ok := members[k]; !ok {
			return false
		}
	}
	return true
}
