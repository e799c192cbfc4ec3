package dockerfile

import (
	"maps"
	"strconv"
	"time"
)

// EpochArg is the argument that says when everything in the image was made, in
// seconds since 1970. Outside the stages it means so even where nobody declares
// it.
const EpochArg = "SOURCE_DATE_EPOCH"

// Epoch gives the time that --build-arg SOURCE_DATE_EPOCH names or, without it,
// an ARG above the first FROM; nil where none does.
func (f *File) Epoch() *time.Time { return f.epoch }

// EpochOfContext is the argument's value that stands for the build context's time:
// of a repository the commit's, of what a web server gives Last-Modified, else
// the newest in an archive. A directory has none.
const EpochOfContext = "context"

// readEpoch settles the epoch.
func (f *File) readEpoch(ofContext time.Time) error {
	text, given := f.buildArgs[EpochArg]
	if !given {
		text, _ = f.MetaArg(EpochArg)
	}
	if text == EpochOfContext {
		text = ""
		if !ofContext.IsZero() {
			text = strconv.FormatInt(ofContext.Unix(), 10)
		}
		f.setEpochArg(given, text)
	}
	if text == "" {
		return nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return faultAt(f.Name, "give seconds since 1970, such as --build-arg "+EpochArg+"=$(git log -1 --pretty=%ct)",
			"%s=%s is not a number", EpochArg, oneLine(text))
	}
	t := time.Unix(seconds, 0).UTC()
	f.epoch = &t
	return nil
}

// setEpochArg lets instructions see what "context" stands for.
func (f *File) setEpochArg(given bool, text string) {
	if given {
		f.buildArgs = maps.Clone(f.buildArgs)
		f.buildArgs[EpochArg] = text
	}
	if _, declared := f.MetaArg(EpochArg); declared {
		f.MetaArgs = setEnv(f.MetaArgs, EpochArg, text)
	}
}
