package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/builder-oci/builder/cmd/builder/format"
	"github.com/builder-oci/builder/internal/filter"
	"github.com/builder-oci/builder/rootless/container"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
)

func TestPortsAreListedAsDockerListsThem(t *testing.T) {
	tcp := func(ip string, host, private uint16) network.Port {
		return network.Port{HostIP: ip, HostPort: host, ContainerPort: private, Proto: "tcp"}
	}
	udp := func(ip string, host, private uint16) network.Port {
		return network.Port{HostIP: ip, HostPort: host, ContainerPort: private, Proto: "udp"}
	}
	for _, test := range []struct {
		published, exposed []network.Port
		want               string
	}{
		{nil, nil, ""},
		{[]network.Port{tcp("", 8080, 80)}, nil, "0.0.0.0:8080->80/tcp"},
		{[]network.Port{tcp("127.0.0.1", 80, 80)}, nil, "127.0.0.1:80->80/tcp"},
		{[]network.Port{tcp("::", 8080, 80), tcp("0.0.0.0", 8080, 80)}, nil, "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"},
		{[]network.Port{tcp("::", 80, 80), tcp("0.0.0.0", 80, 80)}, nil, "0.0.0.0:80->80/tcp, [::]:80->80/tcp"},
		// Ranges.
		{[]network.Port{tcp("", 82, 82), tcp("", 80, 80), tcp("", 81, 81)}, nil, "0.0.0.0:80-82->80-82/tcp"},
		{[]network.Port{tcp("", 8001, 81), tcp("", 8000, 80)}, nil, "0.0.0.0:8000->80/tcp, 0.0.0.0:8001->81/tcp"},
		{[]network.Port{tcp("", 80, 80), tcp("", 82, 82)}, nil, "0.0.0.0:80->80/tcp, 0.0.0.0:82->82/tcp"},
		{[]network.Port{tcp("", 80, 80), udp("", 81, 81), tcp("", 81, 81)}, nil, "0.0.0.0:80-81->80-81/tcp, 0.0.0.0:81->81/udp"},
		{[]network.Port{tcp("::1", 80, 80), tcp("::1", 81, 81)}, nil, "[::1]:80-81->80-81/tcp"},
		// What isn't published.
		{nil, []network.Port{tcp("", 0, 443), tcp("", 0, 80)}, "80/tcp, 443/tcp"},
		{nil, []network.Port{tcp("", 0, 81), tcp("", 0, 80), udp("", 0, 53)}, "53/udp, 80-81/tcp"},
		{[]network.Port{tcp("", 8080, 80)}, []network.Port{tcp("", 0, 80), tcp("", 0, 443), udp("", 0, 80)}, "80/udp, 443/tcp, 0.0.0.0:8080->80/tcp"},
		{[]network.Port{tcp("", 65535, 65535)}, nil, "0.0.0.0:65535->65535/tcp"},
	} {
		if got := portList(test.published, test.exposed); got != test.want {
			t.Errorf("%v and %v: %q, not %q", test.published, test.exposed, got, test.want)
		}
	}
}

var testNow = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func TestStatusIsInDockersWords(t *testing.T) {
	ago := func(span time.Duration) time.Time { return testNow.Add(-span) }
	for want, state := range map[string]container.State{
		"Created":                        {Status: container.StatusCreated},
		"Up Less than a second":          {Status: container.StatusRunning, StartedAt: testNow},
		"Up 3 minutes":                   {Status: container.StatusRunning, StartedAt: ago(3 * time.Minute)},
		"Up 3 minutes (Paused)":          {Status: container.StatusPaused, StartedAt: ago(3 * time.Minute)},
		"Restarting (1) 3 seconds ago":   {Status: container.StatusRestarting, StartedAt: ago(time.Hour), FinishedAt: ago(3 * time.Second), ExitCode: 1},
		"Exited (0) 2 minutes ago":       {Status: container.StatusExited, StartedAt: ago(time.Hour), FinishedAt: ago(2 * time.Minute)},
		"Exited (137) About an hour ago": {Status: container.StatusExited, StartedAt: ago(2 * time.Hour), FinishedAt: ago(time.Hour), ExitCode: 137},
		"Dead":                           {Status: container.StatusDead, StartedAt: ago(time.Hour), ExitCode: 137},
	} {
		if got := containerStatus(state, testNow); got != want {
			t.Errorf("%+v: %q, not %q", state, got, want)
		}
	}
}

// The clock has been set back.
func TestStatusOfWhatIsYetToCome(t *testing.T) {
	later := testNow.Add(time.Hour)
	for want, state := range map[string]container.State{
		"Up Less than a second":                 {Status: container.StatusRunning, StartedAt: later},
		"Restarting (1) Less than a second ago": {Status: container.StatusRestarting, StartedAt: later, FinishedAt: later, ExitCode: 1},
		"Exited (0) Less than a second ago":     {Status: container.StatusExited, StartedAt: later, FinishedAt: later},
	} {
		if got := containerStatus(state, testNow); got != want {
			t.Errorf("%+v: %q, not %q", state, got, want)
		}
	}
}

// found makes a container, so many minutes old.
func found(name string, minutes int, status container.Status, change func(*container.Found)) container.Found {
	f := container.Found{
		Config: container.Config{
			ID: strings.Repeat(name[len(name)-1:], 64), Name: name, Image: "app", ImageID: "sha256:" + strings.Repeat("12", 32),
			Spec: sandbox.Spec{Args: []string{"sleep", "1000"}}, Network: container.Network{Mode: network.ModePrivate},
			CreatedAt: testNow.Add(-time.Duration(minutes) * time.Minute),
		},
		State: container.State{Status: status},
	}
	if status != container.StatusCreated {
		f.State.StartedAt = f.Config.CreatedAt
	}
	if change != nil {
		change(&f)
	}
	return f
}

// family is one of each kind, the newest first.
func family() []container.Found {
	return []container.Found{
		found("web-a", 1, container.StatusRunning, func(f *container.Found) {
			f.Config.Labels = map[string]string{"stage": "test", "tier": "front"}
			f.Config.Settings = json.RawMessage(`{"ExposedPorts":{"80/tcp":{},"9000-9002/udp":{}}}`)
			f.State.Ports = []network.Port{{HostPort: 8080, ContainerPort: 80, Proto: "tcp"}}
		}),
		found("web-b", 2, container.StatusPaused, func(f *container.Found) {
			f.Config.Labels = map[string]string{"stage": "live"}
			f.Config.Network = container.Network{Mode: network.ModeHost}
			f.Config.Mounts = []container.Mount{
				{Type: "volume", Name: "data", Source: "/store/volumes/data/_data", Destination: "/var/lib/data"},
				{Type: "bind", Source: "/etc/ssl", Destination: "/ssl"},
				{Type: "tmpfs", Destination: "/tmp"},
			}
		}),
		found("db-c", 3, container.StatusExited, func(f *container.Found) { f.State.ExitCode = 3 }),
		found("db-d", 4, container.StatusCreated, nil),
		found("web-e", 5, container.StatusRestarting, func(f *container.Found) { f.State.ExitCode = 3 }),
		found("job-f", 6, container.StatusDead, func(f *container.Found) {
			f.State.ExitCode = 137
			f.Config.Network = container.Network{Mode: network.ModePrivate, Container: strings.Repeat("a", 64)}
		}),
	}
}

func TestFiltersChooseAsDockers(t *testing.T) {
	for _, test := range []struct {
		filters string
		all     bool
		last    int
		want    string
	}{
		{"", false, 0, "abe"},
		{"", true, 0, "abcdef"},
		{"", false, 2, "ab"},
		{"", false, 4, "abcd"},
		{"status=exited", false, 0, "c"},
		{"status=exited status=created", false, 0, "cd"},
		{"status=dead", false, 0, "f"},
		{"status=exited", false, 1, "c"}, // the last one of those
		{"name=web", true, 0, "abe"},
		{"name=^web-a$ name=db", true, 0, "acd"},
		{"name=^/db", true, 0, "cd"},
		{"name=(", true, 0, ""},
		{"id=a", true, 0, "a"},
		{"id=" + strings.Repeat("c", 64) + " name=db", true, 0, "c"},
		{"id=a name=db", true, 0, ""},
		{"label=stage", false, 0, "ab"},
		{"label=stage=test", false, 0, "a"},
		{"label=stage label=tier", false, 0, "a"},
		{"exited=3", true, 0, "c"}, // not one that is started again
		{"exited=3 exited=137", true, 0, "cf"},
		{"exited=3", false, 0, ""},
		{"exited=0", true, 0, ""}, // one that never ran has no code
		{"before=db-c", true, 0, "def"},
		{"since=db-c", true, 0, "ab"},
		{"since=db-d before=web-a", true, 0, "bc"},
		{"since=web-a before=db-d", true, 0, "ef"}, // docker has passed web-a by then
		{"since=web-b since=db-d", true, 0, "abc"}, // the last one counts
		{"since=/db-d", false, 0, "ab"},
		{"before=" + strings.Repeat("b", 12), false, 0, "e"},
		{"volume=data", true, 0, "b"},
		{"volume=/var/lib/data", true, 0, "b"},
		{"volume=/etc/ssl volume=x", true, 0, "b"},
		{"volume=/store/volumes/data/_data", true, 0, ""},
		{"network=bridge", false, 0, "ae"},
		{"network=private", true, 0, "acde"},
		{"network=host", true, 0, "b"},
		{"publish=8080", false, 0, "a"},
		{"publish=80", false, 0, ""},
		{"publish=8000-9000/tcp", false, 0, "a"},
		{"publish=8080/udp", false, 0, ""},
		{"expose=80", false, 0, "a"},
		{"expose=9001/udp", false, 0, "a"},
		{"expose=9001", false, 0, ""},
		{"health=none", false, 0, "abe"},
		{"health=healthy", false, 0, ""},
		{"is-task=false", false, 0, "abe"},
		{"is-task=true", false, 0, ""},
	} {
		set, err := filter.Parse(strings.Fields(test.filters))
		if err != nil {
			t.Fatal(err)
		}
		chosen, err := selection{set: set, all: test.all, last: test.last}.of(family())
		var got strings.Builder
		for _, f := range chosen {
			got.WriteString(f.Config.ID[:1])
		}
		if got.String() != test.want || err != nil {
			t.Errorf("%q, all %t, last %d: %q, not %q: %v", test.filters, test.all, test.last, got.String(), test.want, err)
		}
	}
}

func TestFiltersThatAreWrong(t *testing.T) {
	for text, want := range map[string]string{
		"colour=red":        "invalid filter 'colour'",
		"label!=x":          "invalid filter 'label!'",
		"status=asleep":     "invalid filter 'status=asleep'",
		"exited=x":          "invalid filter 'exited=x'",
		"health=well":       "Unrecognised filter value for health: well",
		"before=nobody":     "No such container: nobody",
		"since=":            "No such container: ",
		"publish=0:80":      "filter for 'publish' should not contain ':': 0:80",
		"expose=http":       "error while looking up for expose http: invalid port",
		"expose=9-8":        "error while looking up for expose 9-8: invalid port",
		"is-task=sometimes": "invalid filter 'is-task=[sometimes]'",
	} {
		set, err := filter.Parse([]string{text})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (selection{set: set}).of(family()); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// shownBy gives what a template makes of containers.
func shownBy(t *testing.T, l *containerList, template string, found ...container.Found) string {
	t.Helper()
	l.now, l.format = testNow, template
	parsed, err := l.parse()
	if err != nil {
		t.Fatal(err)
	}
	var rows []containerRow
	for _, f := range found {
		rows = append(rows, containerRow{Found: f, list: l, image: f.Config.Image})
	}
	var b bytes.Buffer
	if err := format.Print(parsed, &b, containerHeadings, slices.Values(rows)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTheTableIsDockers(t *testing.T) {
	want := "" +
		"CONTAINER ID   IMAGE     COMMAND        CREATED              STATUS                  PORTS                                 NAMES\n" +
		"aaaaaaaaaaaa   app       \"sleep 1000\"   About a minute ago   Up About a minute       9000-9002/udp, 0.0.0.0:8080->80/tcp   web-a\n" +
		"bbbbbbbbbbbb   app       \"sleep 1000\"   2 minutes ago        Up 2 minutes (Paused)                                         web-b\n"
	if got := shownBy(t, &containerList{}, "", family()[:2]...); got != want {
		t.Errorf("the table is\n%s, not\n%s", got, want)
	}
}

func TestEachFieldOfAContainer(t *testing.T) {
	f := family()[1]
	f.Config.Spec.Args = []string{"/bin/sh", "-c", "sleep 1000; echo done"}
	f.Config.Image = "docker.io/library/app:v1@sha256:" + strings.Repeat("34", 32)
	local := time.Unix(f.Config.CreatedAt.Unix(), 0).String()
	for template, want := range map[string]string{
		"{{.ID}}": "bbbbbbbbbbbb", "{{.Image}}": "app:v1", "{{.Command}}": `"/bin/sh -c 'sleep 1…"`, "{{.CreatedAt}}": local,
		"{{.RunningFor}}": "2 minutes ago", "{{.Ports}}": "", "{{.State}}": "paused", "{{.Status}}": "Up 2 minutes (Paused)",
		"{{.Size}}": "0B", "{{.Names}}": "web-b", "{{.Labels}}": "stage=live", `{{.Label "stage"}}`: "live", `{{.Label "x"}}`: "",
		"{{.Mounts}}": "data,/etc/ssl", "{{.LocalVolumes}}": "1", "{{.Networks}}": "host",
		`table {{.Names}}\t{{.Label "com.example.some-stage"}}`: "NAMES     some stage\nweb-b     ",
		"raw": "container_id: bbbbbbbbbbbb\nimage: app:v1\ncommand: \"/bin/sh -c 'sleep 1…\"\ncreated_at: " + local +
			"\nstate: paused\nstatus: Up 2 minutes (Paused)\nnames: web-b\nlabels: stage=live\nports:\n",
	} {
		if got := shownBy(t, &containerList{}, template, f); got != want+"\n" {
			t.Errorf("%s is %q, not %q", template, got, want)
		}
	}
	whole := &containerList{whole: true}
	if got := shownBy(t, whole, "{{.ID}} {{.Command}} {{.Image}}", f); got != f.Config.ID+` "/bin/sh -c 'sleep 1000; echo done'" `+f.Config.Image+"\n" {
		t.Errorf("without cutting it is %q", got)
	}
	var fields map[string]string
	if err := json.Unmarshal([]byte(shownBy(t, &containerList{}, "json", f)), &fields); err != nil {
		t.Fatal(err)
	}
	names := []string{
		"Command", "CreatedAt", "ID", "Image", "Labels", "LocalVolumes", "Mounts", "Names", "Networks", "Ports", "RunningFor", "Size", "State", "Status",
	}
	if got := slices.Sorted(maps.Keys(fields)); !slices.Equal(got, names) {
		t.Errorf("the JSON has %q", got)
	}
}

func TestSizeIsMeasuredWhereItIsShown(t *testing.T) {
	for template, want := range map[string]bool{
		"": false, "table": false, "json": false, "{{.ID}}": false,
		"{{.Size}}": true, "table {{.ID}}\t{{.Size}}": true, "{{json .}}": true, "{{json .ID}}": false,
	} {
		if got := (&containerList{format: template}).asksForSize(); got != want {
			t.Errorf("%q: %t", template, got)
		}
	}
	l := &containerList{sized: true}
	row := containerRow{Found: family()[0], list: l, written: 2, imageSize: 1_500_000}
	if got := row.Size(); got != "2B (virtual 1.5MB)" {
		t.Errorf("the size is %q", got)
	}
}

func TestATemplateIsWrongAlsoWithoutContainers(t *testing.T) {
	for _, text := range []string{"{{.Nope}}", "{{", "table {{.ID}}\t{{.Nope}}", "{{.Label}}"} {
		if _, err := (&containerList{format: text}).parse(); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
