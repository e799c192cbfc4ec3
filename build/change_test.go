package build_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

func TestChangesApplyOneAfterAnother(t *testing.T) {
	changes, err := build.ParseChanges([]string{"ENV A=1", "", "env B=$A\nWORKDIR /x", "WORKDIR y", "CMD echo $A", "ENTRYPOINT [\"e\"]"})
	if err != nil {
		t.Fatal(err)
	}
	config := layout.ImageConfig{Author: "me", Config: layout.RunConfig{Env: []string{"A=0"}, Cmd: []string{"old"}}}
	if err := changes.Apply(&config); err != nil {
		t.Fatal(err)
	}
	want := layout.RunConfig{
		Env: []string{"A=1", "B=1"}, WorkingDir: "/x/y",
		Cmd: []string{"/bin/sh", "-c", "echo $A"}, ArgsEscaped: true, Entrypoint: []string{"e"},
	}
	if !reflect.DeepEqual(config.Config, want) || config.Author != "me" || len(config.History) != 0 {
		t.Errorf("%+v", config)
	}
}

func TestChangesThatNeedMoreThanAConfigAreRefused(t *testing.T) {
	for text, cause := range map[string]string{
		"RUN true":            "--change RUN true: RUN is not a valid change command",
		"FROM x":              "FROM is not a valid change command",
		"maintainer me":       "maintainer is not a valid change command",
		"ENV":                 "--change ENV: ENV requires at least one argument",
		"HEALTHCHECK --x CMD": "unknown flag: --x",
	} {
		_, err := build.ParseChanges([]string{"ENV A=1", text})
		if err == nil || !strings.Contains(err.Error(), cause) {
			t.Errorf("%s: %v", text, err)
		}
	}
	changes, err := build.ParseChanges([]string{"STOPSIGNAL $NONE"})
	if err == nil {
		err = changes.Apply(&layout.ImageConfig{})
	}
	if err == nil || fault.Code(err) != fault.CodeOwn {
		t.Errorf("an empty signal is taken: %v", err)
	}
}
