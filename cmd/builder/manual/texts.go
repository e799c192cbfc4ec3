package manual

import (
	"slices"

	"github.com/urfave/cli/v2"
)

// Text is what a command's page has beyond its definition.
type Text struct {
	More     string // paragraphs of the description
	Examples []Item // what each does, and its command line
}

// Item is an entry of a list, and its text.
type Item struct{ Head, Text string }

// Texts has what pages have beyond definitions, by the command's name without the program's, and the
// program's own. It is a function so that no other command makes the map.
func Texts() map[string]Text {
	return map[string]Text{
		program: {
			More: `
builder makes container images from Dockerfiles with no daemon and no root. Every
command is a process that ends; what commands share lies on disk, guarded by file
locks, so that any number of them may run at once. Work on file systems, and the
instructions of a Dockerfile, run in a user namespace: as root in it, and outside
of it with no more rights than the caller and his subordinate ids have.

The images are a plain OCI image layout, which skopeo(1), podman(1) and others read
as it stands. Names are docker's: nginx is docker.io/library/nginx:latest.

What builder info prints about the machine says which of its ways are open here,
and what would open the others.`,
			Examples: []Item{
				{"Build an image of the Dockerfile here, and run it", "builder bud -t app . && builder run --rm app"},
				{"See what the machine permits", "builder info"},
			},
		},
		"bud": {
			More: `
The build context is a directory, the address of an archive or of a git repository,
or - for the standard input. Steps that are known from earlier builds aren't
executed again; with --explain the others say why they aren't known. Stages that
the target doesn't need are left out, those that it needs are built side by side.

When a RUN fails, builder-debug(1) opens a shell in it as the command left it.`,
			Examples: []Item{
				{"Build what the Dockerfile here says", "builder bud -t app ."},
				{"Up to one stage, with a value for an ARG", "builder bud --target test --build-arg VERSION=1.2 ."},
				{"For another architecture, and into a registry", "builder bud --platform linux/arm64 --push -t registry.example.com/app ."},
				{"The files of a stage alone, and no image", "builder bud -o out --target binaries ."},
				{"From a git repository", "builder bud -t app https://github.com/example/app.git#main"},
				{"With a secret for RUN --mount=type=secret,id=token", "builder bud --secret id=token,src=token.txt ."},
				{"The same digest on any machine", "builder bud --timestamp 0 -t app ."},
				{"Say what is doubtful in the Dockerfile", "builder bud --check ."},
			},
		},
		"run": {
			More: "The image is pulled where it isn't there yet. What follows it belongs to the program in the container.",
			Examples: []Item{
				{"A shell, of which nothing stays", "builder run -it --rm busybox sh"},
				{"A server on port 8080 of this host, in the background", "builder run -d --name web -p 8080:80 nginx"},
				{"A program that works on this directory", "builder run --rm -v .:/work -w /work busybox ls"},
			},
		},
		"create":          {Examples: []Item{{"Make it now, start it later", "id=$(builder create -p 8080:80 nginx); builder start $id"}}},
		"start":           {Examples: []Item{{"Again, with its terminal", "builder start -ai shell"}}},
		"stop":            {Examples: []Item{{"Kill what hasn't ended after two seconds", "builder stop -t 2 web"}}},
		"kill":            {Examples: []Item{{"Have it read its configuration again", "builder kill -s HUP web"}}},
		"restart":         {Examples: []Item{{"Stop it and start it again", "builder restart web"}}},
		"pause":           {Examples: []Item{{"Hold its programs for a while", "builder pause web; sleep 5; builder unpause web"}}},
		"unpause":         {Examples: []Item{{"Let them go on", "builder unpause web"}}},
		"wait":            {Examples: []Item{{"How has it ended?", "code=$(builder wait job)"}}},
		"rename":          {Examples: []Item{{"Make room for another of that name", "builder rename web web-old"}}},
		"attach":          {Examples: []Item{{"See what it prints, and leave it by ctrl-c", "builder attach --sig-proxy=false web"}}},
		"top":             {Examples: []Item{{"What each process takes", "builder top web -o pid,rss,args"}}},
		"port":            {Examples: []Item{{"Where port 80 is on this host", "builder port web 80"}}},
		"container prune": {Examples: []Item{{"Those that were made more than a day ago", "builder container prune -f --filter until=24h"}}},
		"rm": {Examples: []Item{
			{"With its volumes that have no name", "builder rm -v web"},
			{"Two, whether they run or not", "builder rm -f web web2"},
		}},
		"exec": {
			More: `
The command has the container's user, environment and directory, unless others are
asked for. When this process is killed the command is too, with what it has started;
the keys that leave a container leave it running.`,
			Examples: []Item{
				{"A shell", "builder exec -it web bash"},
				{"A command as another user", "builder exec -u www-data web id"},
			},
		},
		"untag":          {Examples: []Item{{"Take a name away; the image stays", "builder untag app app:old"}}},
		"image prune":    {Examples: []Item{{"Images without a name that are older than a day", "builder image prune -f --filter until=24h"}}},
		"system df":      {Examples: []Item{{"What each image has to itself", "builder system df -v"}}},
		"system prune":   {Examples: []Item{{"All that no container uses", "builder system prune --all --force"}}},
		"volume create":  {Examples: []Item{{"With a label, and what it is for", "builder volume create --label app=shop orders"}}},
		"volume inspect": {Examples: []Item{{"Where its files lie", "builder volume inspect -f '{{.Mountpoint}}' orders"}}},
		"volume ls":      {Examples: []Item{{"Those that no container has", "builder volume ls --filter dangling=true"}}},
		"volume prune":   {Examples: []Item{{"All that no container has, but for the shop's", "builder volume prune -a -f --filter label!=app=shop"}}},
		"volume rm":      {Examples: []Item{{"Remove one for good", "builder volume rm orders"}}},
		"login":          {Examples: []Item{{"With a password from a file", "builder login -u me --password-stdin registry.example.com < token"}}},
		"logout":         {Examples: []Item{{"Forget a login", "builder logout registry.example.com"}}},
		"manifest create": {Examples: []Item{
			{"Of two images that are here", "builder manifest create app app:amd64 app:arm64"},
			{"Of two in a registry, whose layers stay there", "builder manifest create registry.example.com/app:v1 registry.example.com/app:v1-amd64 registry.example.com/app:v1-arm64"},
		}},
		"manifest add":      {Examples: []Item{{"With what the list tells of it", "builder manifest add --arch arm --variant v7 app app:armv7"}}},
		"manifest annotate": {Examples: []Item{{"Correct what the list tells of an image", "builder manifest annotate --variant v8 app app:arm64"}}},
		"manifest inspect":  {Examples: []Item{{"What a registry has", "builder manifest inspect docker://busybox"}}},
		"manifest push":     {Examples: []Item{{"To the registry of another name", "builder manifest push app registry.example.com/app:v1"}}},
		"manifest remove":   {Examples: []Item{{"Take an image out", "builder manifest remove app sha256:4fbd…"}}},
		"manifest rm":       {Examples: []Item{{"Remove a list; images that have names stay", "builder manifest rm app"}}},
		"manifest exists":   {Examples: []Item{{"Push it if it is there", "builder manifest exists app && builder manifest push app registry.example.com/app"}}},
		"unshare": {Examples: []Item{
			{"Look at a file's owner as images have it", "builder unshare ls -ln /var/tmp/tree"},
		}},
		"cache":       {More: "A step is cached by what it depends on: the step before it, its text, and the files, arguments and settings that it sees."},
		"cache ls":    {Examples: []Item{{"What takes the room, for a program", "builder cache ls --format json"}}},
		"cache rm":    {Examples: []Item{{"Have a step executed again", "builder cache rm 1f2e3d4c5b6a"}}},
		"cache prune": {Examples: []Item{{"What nothing has used for ten days", "builder cache prune -f --filter until=240h"}, {"All but 5 GB", "builder cache prune -f --keep-storage 5GB"}}},
		"cache why":   {Examples: []Item{{"Why the last build wasn't cached", "builder cache why"}}},
		"logs": {
			More: "What a container printed on its standard error goes to that of this command. " +
				"A name or an id is a container's before it is a step's. Times are spans before now (42m), times of a day or zone (2026-01-31T08:30:00Z), or seconds since 1970.",
			Examples: []Item{
				{"The last ten lines, and what comes", "builder logs -n 10 -f webserver"},
				{"What was printed in the last hour, and when", "builder logs -t --since 1h webserver"},
				{"The whole output of a step", "builder logs 1f2e3d4c5b6a"},
			},
		},
		"ps": {
			More: "The container that was made last comes first.",
			Examples: []Item{
				{"All that there are", "builder ps -a"},
				{"Which have failed", "builder ps -a -f exited=1 -f exited=127"},
				{"Columns of your own", `builder ps --format 'table {{.Names}}\t{{.Status}}\t{{.Ports}}'`},
			},
		},
		"debug": {Examples: []Item{
			{"A shell in the RUN that failed last", "builder debug"},
			{"One command in it, before its own ran", "builder debug --before -- ls -l /src"},
		}},
		"debug ls": {Examples: []Item{{"The failed steps", "builder debug ls"}}},
		"debug rm": {Examples: []Item{{"Free what all of them keep", "builder debug rm --all"}}},
		"images": {
			More: "The newest comes first. Filters are dangling, label, label!, reference, before, since and until. Of several references one must fit, of all else each.",
			Examples: []Item{
				{"The tags of one repository", "builder images nginx"},
				{"Ids of what has lost its name", "builder images -q -f dangling=true"},
				{"Columns of your own", `builder images --format 'table {{.ID}}\t{{.Repository}}\t{{.Tag}}'`},
			},
		},
		"history": {
			More:     "The last step comes first. Sizes are those of layers unpacked; <missing> stands for steps that no image of their own stands for.",
			Examples: []Item{{"What each step added, in bytes", "builder history -H=false --format '{{.Size}} {{.CreatedBy}}' nginx"}},
		},
		"pull": {
			More: "Layers are fetched side by side, and unpacked only when a build or a container needs them. " +
				"Where a connection breaks, what is missing is asked for again; a registry that is silent for half a minute is given up. " +
				"Mirrors, blocked and insecure registries and aliases of short names stand in registries.conf.",
			Examples: []Item{
				{"The tag latest", "builder pull nginx"},
				{"All tags that there are", "builder pull --all-tags busybox"},
				{"Exactly one image", "builder pull nginx@sha256:1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988"},
			},
		},
		"push": {
			More:     "The layers are sent as they lie on disk: nothing is packed or compressed again.",
			Examples: []Item{{"Under its name", "builder push registry.example.com/team/app:v1"}},
		},
		"tag": {Examples: []Item{{"A name in another registry", "builder tag app registry.example.com/team/app:v1"}}},
		"rmi": {
			More:     "A name is taken from its image; the image goes with its last name, and with it what nothing else needs.",
			Examples: []Item{{"A name, and an image by the beginning of its id", "builder rmi app:old 1f2e3d4c5b6a"}},
		},
		"image inspect": {Examples: []Item{{"The image for another platform", "builder image inspect --platform linux/arm64 -f '{{.Id}}' app"}}},
		"inspect": {
			More: "The members are those of docker's JSON. A template names them as {{.Id}}, or its fields as docker's own types have them, as {{.ID}}.",
			Examples: []Item{
				{"All of it", "builder inspect app"},
				{"The environment, and one label", `builder inspect -f '{{.Config.Env}} {{index .Config.Labels "version"}}' app`},
				{"The image as it was after a step of a build", "builder inspect 1f2e3d4c5b6a"},
			},
		},
		"container inspect": {Examples: []Item{{"Where its program is on this machine", "builder container inspect -f '{{.State.Pid}}' web"}}},
		"diff":              {Examples: []Item{{"What a container has changed", "builder diff web"}}},
		"commit": {
			More: "The container's settings become the image's, with the variables and labels that it was given.",
			Examples: []Item{
				{"An image with another command", "builder commit -m 'new page' -c 'CMD [\"nginx\", \"-g\", \"daemon off;\"]' web nginx:v2"},
			},
		},
		"cp": {
			More: "Links are followed as the container's programs see them, and lead nowhere out of it. What is copied to this machine follows none of the links that are among it.",
			Examples: []Item{
				{"A file into a container, and a directory out of it", "builder cp index.html web:/srv/\nbuilder cp web:/var/log ./log"},
				{"What is in a directory", "builder cp site/. web:/srv"},
				{"As a tar", "builder cp web:/etc - | tar -t"},
			},
		},
		"export": {Examples: []Item{{"Its files as a tarball", "builder export -o files.tar 1f2e3d4c5b6a"}}},
		"import": {Examples: []Item{{"A root file system", "builder import rootfs.tar base:v1"}}},
		"save":   {Examples: []Item{{"Two images in one archive", "builder save -o images.tar app:v1 app:v2"}, {"Through a pipe", "builder save app | ssh host builder load"}}},
		"load":   {Examples: []Item{{"From a file", "builder load -i images.tar"}}},
		"executor": {
			More: `
Called by the name executor, through a link or as the entry of an image, builder is
this command. It builds as builder-bud(1) does, writes what it is asked for, and
pushes the image to each destination. Flags of kaniko's that mean nothing here are
taken, which --verbosity debug tells of; those that can't be followed are refused.

Logins are also read from /kaniko/.docker/config.json, where kaniko's users mount
them.`,
			Examples: []Item{
				{"Build the directory /workspace, and push the image", "executor --context dir:///workspace --destination registry.example.com/app:v1"},
				{"Push nothing, and write an archive for docker", "builder executor -c . -d app --no-push --tar-path app.tar"},
				{"From a branch of a git repository", "executor -c git://github.com/example/app.git#refs/heads/main -d registry.example.com/app"},
			},
		},
		"info": {Examples: []Item{{"The same, for a program", "builder info --format json"}}},
		"doctor": {
			More:     "With a registry it tries to reach that, too, and holds the clock against its. Nothing is sent but requests that a pull begins with, and questions for the root's name servers.",
			Examples: []Item{{"All that builder needs", "builder doctor"}, {"And a registry", "builder doctor registry.example.com"}, {"For a program", "builder doctor --format json"}},
		},
		"version": {Examples: []Item{{"The version", "builder version"}}},
		"system check": {
			More:     "Every blob, tree and record is read and held against its digest.",
			Examples: []Item{{"And mend what is wrong", "builder system check --repair"}},
		},
		"system reset":    {Examples: []Item{{"Without being asked", "builder system reset --force"}}},
		"completion bash": {Examples: []Item{{"For yourself", "builder completion bash > ~/.local/share/bash-completion/completions/builder"}}},
		"completion zsh":  {Examples: []Item{{"Into a directory of fpath", "builder completion zsh > ~/.zfunc/_builder"}}},
		"completion fish": {Examples: []Item{{"For yourself", "builder completion fish > ~/.config/fish/completions/builder.fish"}}},
	}
}

var (
	exitDone = []Item{{"0", "Done."}}
	exitOwn  = Item{"125", "A failure of builder's own, or a command line that it doesn't understand."}

	programExits = []Item{
		exitOwn,
		{"128 and more", "Ended by a signal: 130 by an interrupt."},
		{"others", "Where a command of the user's is run, that command's own."},
	}
	buildExits = []Item{{"that of a RUN", "The command of a RUN failed."}, exitOwn}
	runExits   = []Item{
		exitOwn,
		{"126", "The command can't be executed."},
		{"127", "The command isn't there."},
		{"others", "The command's own."},
	}
	otherExits = []Item{{"1", "What was asked for, or some of it, couldn't be done."}, exitOwn}
)

// exitsOf tells the exit codes of a command.
func exitsOf(path []string) []Item {
	switch path[1] {
	case "bud", "executor":
		return buildExits
	case "run", "exec", "debug", "unshare":
		return runExits
	}
	return otherExits
}

// programEnvironment has the variables that aren't a flag's.
var programEnvironment = []Item{
	{"XDG_DATA_HOME", "Where the store is, in the directory builder, unless --root says so."},
	{"XDG_RUNTIME_DIR", "Where files lie that needn't outlive a login."},
	{"SOURCE_DATE_EPOCH", "The ARG of that name, for builds that can be repeated to the byte."},
	{"NO_COLOR", "Where it is set, nothing is coloured."},
	{"REGISTRY_AUTH_FILE, DOCKER_CONFIG", "Where logins for registries are looked for."},
	{"HTTP_PROXY, HTTPS_PROXY, NO_PROXY", "By what way registries and other hosts are asked; every RUN sees them too."},
	{"TMPDIR", "Where large files of a moment go that have no place in the store."},
}

// registryVariables are of commands that speak with registries.
var registryVariables = []Item{
	{"REGISTRY_AUTH_FILE", "As --authfile."},
	{"HTTP_PROXY, HTTPS_PROXY, NO_PROXY", "By what way registries are asked."},
}

// executorVariables are kaniko's.
var executorVariables = []Item{
	{"KANIKO_DIR", "As --kaniko-dir."},
	{"KANIKO_REGISTRY_MIRROR, KANIKO_REGISTRY_MAP", "As --registry-mirror and --registry-map, once more."},
	{"KANIKO_NO_PUSH", "As --no-push, where it is true."},
	{"GIT_TOKEN, GIT_USERNAME, GIT_PASSWORD", "The login to a git repository as build context."},
	{"GIT_PULL_METHOD", "What git:// stands for: https, or http."},
	{"BUILDER_OUTPUT", "A directory where a file images gets names and digests, as Cloud Build has it."},
	{"DOCKER_CONFIG", "The directory of the config.json that has logins."},
}

func variablesOf(c *cli.Command) []Item {
	if c.Name == "executor" {
		return executorVariables
	}
	if hasFlag(c, "authfile") {
		return registryVariables
	}
	return nil
}

var (
	storeFiles = []Item{
		{"~/.local/share/builder", "The store. Its directory images is an OCI image layout, which other programs may read."},
	}
	machineFiles = []Item{{"/etc/subuid, /etc/subgid", "The ids that a user namespace of yours may have."}}
	loginFiles   = []Item{
		{"$XDG_RUNTIME_DIR/containers/auth.json", "Logins for registries."},
		{"~/.docker/config.json", "docker's logins, and the programs that keep them, where the first has none."},
		{"/kaniko/.docker/config.json", "Logins where there is neither: kaniko's users mount them there."},
	}
	registryFiles = []Item{
		{"/etc/containers/registries.conf, ~/.config/containers/registries.conf", "Mirrors, blocked and insecure registries, and short names: see containers-registries.conf(5)."},
		{"/etc/containers/policy.json, ~/.config/containers/policy.json", "Which images are to be trusted: see containers-policy.json(5)."},
		{"/etc/containers/certs.d, /etc/docker/certs.d", "Certificates of registries."},
	}
)

// filesOf tells the files that a command reads and writes.
func filesOf(c *cli.Command) []Item {
	files := slices.Clone(storeFiles)
	if hasFlag(c, "authfile") {
		files = append(files, loginFiles...)
	}
	if hasFlag(c, "tls-verify") {
		files = append(files, registryFiles...)
	}
	return files
}

// otherPages are of programs that have to do with builder.
var otherPages = []string{
	"fuse-overlayfs(1)", "crun(1)", "pasta(1)", "skopeo(1)", "subuid(5)", "user_namespaces(7)",
	"containers-auth.json(5)", "containers-registries.conf(5)", "containers-policy.json(5)",
}
