package dockerfile

import "strings"

// parseRemedies say what to write where BuildKit's parser says, in the words on
// the left, what it can't take.
var parseRemedies = []struct{ words, remedy string }{
	{"unsupported mount type", "it can be bind, cache, tmpfs, secret or ssh"},
	{"invalid network mode", "it can be default, none or host"},
	{"security ", "it can be sandbox or insecure"},
	{"unsupported sharing value", "it can be shared, private or locked"},
	{"ENV must have two arguments", "write ENV NAME=VALUE"},
	{"ENV names can not be blank", "write ENV NAME=VALUE"},
	{"ENV requires at least one argument", "write ENV NAME=VALUE"},
	{"LABEL must have two arguments", "write LABEL NAME=VALUE"},
	{"LABEL names can not be blank", "write LABEL NAME=VALUE"},
	{"LABEL requires at least one argument", "write LABEL NAME=VALUE"},
	{"ARG requires at least one argument", "write ARG NAME or ARG NAME=DEFAULT"},
	{"ARG names can not be blank", "write ARG NAME or ARG NAME=DEFAULT"},
	{"FROM requires either one or three arguments", "write FROM IMAGE or FROM IMAGE AS NAME"},
	{"invalid name for build stage", "begin it with a letter; letters, digits, ., - and _ may follow"},
	{"SHELL requires the arguments to be in JSON form", `write SHELL ["/bin/bash", "-c"]`},
	{"in HEALTHCHECK (try CMD)", "write HEALTHCHECK CMD COMMAND, or HEALTHCHECK NONE"},
	{"missing command after HEALTHCHECK CMD", "write HEALTHCHECK CMD COMMAND, or HEALTHCHECK NONE"},
	{"time: ", "write a time such as 30s, 5m or 1h30m"},
	{"isn't allowed as an ONBUILD trigger", "a trigger may be any instruction but FROM, MAINTAINER and ONBUILD"},
	{"chaining ONBUILD", "a trigger may be any instruction but FROM, MAINTAINER and ONBUILD"},
	{"requires at least two arguments, but only one", "write the sources and, last, the destination"},
	{"WORKDIR requires exactly one argument", "write WORKDIR DIRECTORY, with quotes or \\ where it holds blanks"},
	{"USER requires exactly one argument", "write USER NAME, USER NAME:GROUP, or numbers"},
	{"STOPSIGNAL requires exactly one argument", "write STOPSIGNAL SIGTERM, or a number"},
	{"missing '}'", "close the braces: ${NAME}"},
}

// parseRemedy is "" where none is known.
func parseRemedy(err error) string {
	for _, r := range parseRemedies {
		if strings.Contains(err.Error(), r.words) {
			return r.remedy
		}
	}
	return ""
}
