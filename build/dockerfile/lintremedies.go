package dockerfile

// remedies say for each rule how to mend what it found.
var remedies = map[string]string{
	"StageNameCasing":                "write the stage's name in lower case, here and where it is used",
	"FromAsCasing":                   "write FROM and AS both in upper or both in lower case",
	"NoEmptyContinuation":            "remove the empty line, or put a # comment there",
	"ConsistentInstructionCasing":    "write the instruction in the case that most of the file has",
	"DuplicateStageName":             "give each stage a name of its own",
	"ReservedStageName":              "give the stage another name than scratch or context",
	"JSONArgsRecommended":            "write the command as a JSON list, such as [\"program\", \"argument\"], or choose a SHELL",
	"MaintainerDeprecated":           "use LABEL org.opencontainers.image.authors=\"…\"",
	"UndefinedArgInFrom":             "declare it by ARG above the first FROM",
	"WorkdirRelativePath":            "begin the path with /, or set an absolute WORKDIR above",
	"UndefinedVar":                   "declare it by ARG or ENV in this stage, above its use",
	"MultipleInstructionsDisallowed": "keep the stage's last one only",
	"LegacyKeyValueFormat":           "put = between name and value, and quotes around a value with blanks",
	"InvalidBaseImagePlatform":       "pull the image for the platform that is built for, or say which by FROM --platform",
	"RedundantTargetPlatform":        "remove --platform",
	"SecretsUsedInArgOrEnv":          "pass it by RUN --mount=type=secret: what ARG and ENV hold can be read from the image",
	"InvalidDefaultArgInFrom":        "give the ARG a default that makes the base image's name whole",
	"FromPlatformFlagConstDisallowed": "remove --platform, use a variable such as $BUILDPLATFORM, or name the platform in the stage's name " +
		"if it is meant for that one only",
	"CopyIgnoredFile":              "take the path out of .dockerignore, or add a line with ! and the path to it",
	"InvalidDefinitionDescription": "begin the comment with the name it describes, or leave an empty line below it",
	"ExposeProtoCasing":            "write the protocol in lower case",
	"ExposeInvalidFormat":          "name the container's port alone; the host's is for run --publish",
}
