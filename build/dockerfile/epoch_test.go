package dockerfile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/builder-oci/builder/build/dockerfile"
)

func TestEpoch(t *testing.T) {
	for _, test := range []struct {
		src  string
		arg  string // "-" is none
		want int64  // -1 is none
	}{
		{"FROM x\n", "-", -1},
		{"FROM x\n", "5", 5},
		{"ARG SOURCE_DATE_EPOCH=7\nFROM x\n", "-", 7},
		{"ARG SOURCE_DATE_EPOCH=7\nFROM x\n", "5", 5},
		{"ARG SOURCE_DATE_EPOCH=7\nFROM x\n", "", -1},
		{"ARG SOURCE_DATE_EPOCH\nFROM x\n", "-", -1},
		{"ARG SOURCE_DATE_EPOCH=context\nFROM x\n", "-", -1},
		{"FROM x\nARG SOURCE_DATE_EPOCH=7\n", "-", -1},
	} {
		o := dockerfile.Options{BuildArgs: map[string]string{}}
		if test.arg != "-" {
			o.BuildArgs["SOURCE_DATE_EPOCH"] = test.arg
		}
		got := int64(-1)
		if e := parse(t, test.src, o).Epoch(); e != nil {
			got = e.Unix()
		}
		if got != test.want {
			t.Errorf("%q %q: %d, want %d", test.src, test.arg, got, test.want)
		}
	}
	_, err := dockerfile.Parse("Dockerfile", []byte("ARG SOURCE_DATE_EPOCH=soon\nFROM x\n"), dockerfile.Options{})
	if err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH=soon is not a number") {
		t.Error(err)
	}
}

func TestEpochOfAContextWithoutTimeIsNone(t *testing.T) {
	o := dockerfile.Options{BuildArgs: map[string]string{"SOURCE_DATE_EPOCH": "context"}}
	f := parse(t, "FROM x\nARG SOURCE_DATE_EPOCH\n", o)
	args := declaredArgs(t, f)
	if f.Epoch() != nil || len(args) != 1 || args[0].Value != "" || o.BuildArgs["SOURCE_DATE_EPOCH"] != "context" {
		t.Errorf("%v, %+v", f.Epoch(), args)
	}
}

func TestEpochOfAContext(t *testing.T) {
	o := dockerfile.Options{
		BuildArgs:   map[string]string{"SOURCE_DATE_EPOCH": "context"},
		ContextTime: time.Unix(7, 5),
	}
	f := parse(t, "FROM x\nARG SOURCE_DATE_EPOCH\n", o)
	args := declaredArgs(t, f)
	if e := f.Epoch(); e == nil || e.Unix() != 7 || e.Nanosecond() != 0 || len(args) != 1 || args[0].Value != "7" {
		t.Errorf("%v, %+v", e, args)
	}
	o.BuildArgs = nil
	if e := parse(t, "ARG SOURCE_DATE_EPOCH=context\nFROM x\n", o).Epoch(); e == nil || e.Unix() != 7 {
		t.Errorf("%v", e)
	}
}

// declaredArgs evaluates the ARG that is the first instruction of the first
// stage.
func declaredArgs(t *testing.T, f *dockerfile.File) []dockerfile.Arg {
	t.Helper()
	c, ok := f.Stages[0].Instructions[0].Cmd.(*instructions.ArgCommand)
	if !ok {
		t.Fatalf("%T", f.Stages[0].Instructions[0].Cmd)
	}
	args, err := f.Args(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return args
}
