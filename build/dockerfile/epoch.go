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

// readEpoch settles the epoch. "context" stands for the time of a context that
// knows one, which a directory doesn't: then there is none.
func (f *File) readEpoch() error {
	text, given := f.buildArgs[EpochArg]
	if !given {
		text, _ = f.MetaArg(EpochArg)
	}
	switch text {
	case "":
		return nil
	case "context":
		if given {
			f.buildArgs = maps.Clone(f.buildArgs)
			f.buildArgs[EpochArg] = ""
		}
		if _, declared := f.MetaArg(EpochArg); declared {
			f.MetaArgs = setEnv(f.MetaArgs, EpochArg, "")
		}
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
