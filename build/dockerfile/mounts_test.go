package dockerfile_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/builder-oci/builder/build/dockerfile"
)

func TestMountsAreExpandedWithoutAChangeToTheFile(t *testing.T) {
	f := parse(t, "FROM x AS a\nFROM y\nRUN --mount=type=$T,target=/$D,id=\"a b\",from=A --mount=type=tmpfs,target=/t,size=1k make\n", dockerfile.Options{})
	run := f.Stages[1].Instructions[0].Cmd.(*instructions.RunCommand)
	// A stage may be walked by several goroutines at once.
	var all sync.WaitGroup
	for _, dir := range []string{"one", "two", "three"} {
		all.Go(func() {
			mounts, err := f.Mounts(run, []string{"T=cache", "D=" + dir})
			if err != nil || len(mounts) != 2 {
				t.Errorf("%v, %v", mounts, err)
				return
			}
			m := mounts[0]
			if m.Type != "cache" || m.Target != "/"+dir || m.CacheID != "a b" || m.From != "A" || mounts[1].SizeLimit != 1024 {
				t.Errorf("%+v %+v", m, mounts[1])
			}
		})
	}
	all.Wait()
}

func TestStagesThatAnInstructionReads(t *testing.T) {
	f := parse(t, `FROM x AS a
FROM x AS b
FROM y
RUN --mount=from=B,target=/b --mount=from=0,target=/a --mount=from=img,target=/c --mount=type=cache,from=scratch,target=/d make
COPY --from=a / /
RUN --mount=target=/ctx make
`, dockerfile.Options{})
	for i, want := range [][]int{{0, 1}, {0}, nil} {
		got := f.Stages[2].Instructions[i].Reads()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("instruction %d reads %v, want %v", i, got, want)
		}
	}
	if got := f.Stages[2].Instructions[0].MountStages["img"]; got != -1 {
		t.Errorf("the image is stage %d", got)
	}
	triggers, err := f.Triggers(f.Stages[2], []string{"RUN --mount=from=b,target=/b make"})
	if err != nil || !slices.Equal(triggers[0].Reads(), []int{1}) {
		t.Errorf("%+v, %v", triggers, err)
	}
}

func TestWrongMountsAreFoundBeforeTheBuild(t *testing.T) {
	for flags, want := range map[string]string{
		"--mount=type=bind,sourc=x,target=/x":             "unexpected key 'sourc'",
		"--mount=type=chache,target=/x":                   "unsupported mount type \"chache\"",
		"--mount=type=cache,target=/x,sharing=most":       "unsupported sharing value",
		"--mount=type=tmpfs,target=/x,size=big":           "invalid value for size",
		"--mount=type=bind,target=/x,uid=4":               "uid not allowed",
		"--mount=type=bind,target":                        "must be a key=value pair",
		"--mount=type=secret":                             "one of source, target required",
		"--mount=type=secret,id=a,from=b":                 "should not have a from",
		"--mount=type=ssh,required=maybe":                 "invalid value for required",
		"--mount=type=cache,target=/x,mode=999":           "invalid value 999 for mode",
		"--mount=type=bind,target=/x,required":            "unexpected key 'required'",
		"--mount=type=cache,target=/x,sharing=locked,ro":  "",
		"--mount=type=secret,id=a,env=A,required":         "",
		"--mount=type=$KIND,target=/x,nonsense=":          "", // told when KIND is known
		"--mount=target=/x,rw --mount=type=ssh,mode=0666": "",
	} {
		f := parse(t, "FROM x\nRUN "+flags+" echo $HOME\n", dockerfile.Options{})
		err := f.CheckMounts(f.Stages[0].Instructions[0])
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", flags, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "Dockerfile:2: ")):
			t.Errorf("%s: %v, want %s", flags, err, want)
		}
	}
}

func FuzzMounts(f *testing.F) {
	for _, seed := range []string{
		"type=bind,source=a,target=/b,rw", "type=cache,id=$A,sharing=locked,mode=0755,uid=1", "type=secret,id=x,env=Y,required",
		"type=tmpfs,size=1m", "type=ssh", `"type=bind,target=/a,b"`, "from=0", ",,=,", "type=cache,target=${X:-/y}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, words string) {
		file, err := dockerfile.Parse("Dockerfile", []byte("FROM x\nFROM y\nRUN --mount="+words+" make\n"), dockerfile.Options{})
		if err != nil {
			return
		}
		for _, s := range file.Stages {
			for _, in := range s.Instructions {
				if run, ok := in.Cmd.(*instructions.RunCommand); ok {
					_ = file.CheckMounts(in)
					_, _ = file.Mounts(run, []string{"A=/a,b=c"})
				}
			}
		}
	})
}

func TestMisspeltMountsNameWhatIsMeant(t *testing.T) {
	for mount, want := range map[string]string{
		"type=secret,id=a,requird":               "unexpected key 'requird' (did you mean required?)",
		"type=cache,target":                      "invalid field 'target' must be a key=value pair",
		"type=secert,id=a":                       `unsupported mount type "secert" (did you mean secret?)`,
		"type=cache,target=/x,sharing=somewhere": `unsupported sharing value "somewhere"`,
	} {
		f := parse(t, "FROM x\nRUN --mount="+mount+" a\n", dockerfile.Options{})
		err := f.CheckMounts(f.Stages[0].Instructions[0])
		if err == nil || !strings.HasPrefix(err.Error(), "Dockerfile:2: RUN ") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", mount, err)
		}
	}
}

func TestAStageMayBeMeantByAnImagesName(t *testing.T) {
	f := parse(t, "FROM x AS build\nFROM y AS Later\n", dockerfile.Options{})
	for name, want := range map[string]string{
		"biuld": "did you mean the stage build?",
		"later": "the stage later, at line 2, can be read by stages below it only",
		"nginx": "", "quay.io/some/image": "",
	} {
		if got := f.StageMeant(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
