package doctor

// What to change about a container, for each of container's answers and, where
// a runner of CI starts it, in that one's words.

// newPrivileges has the process started such that newuidmap can lend it its own.
func (f facts) newPrivileges() string {
	return f.pickOr(map[string]string{
		"docker": "docker run, without --security-opt no-new-privileges",
		"podman": "podman run, without --security-opt no-new-privileges",
		"kubernetes": `spec:                              # of the pod
  containers:
  - securityContext: {allowPrivilegeEscalation: true}`,
		"gitlab kubernetes": `[runners.kubernetes]               # in the runner's config.toml
  allow_privilege_escalation = true`,
	}, `start builder without no_new_privs:
  systemd:     NoNewPrivileges=no
  docker:      without --security-opt no-new-privileges
  Kubernetes:  securityContext: {allowPrivilegeEscalation: true}`)
}

// fileCapabilities let newuidmap and newgidmap map ids in a container: by the
// set-user-ID bit they would need CAP_SYS_ADMIN there.
const fileCapabilities = `RUN chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap && \
    setcap cap_setuid+ep /usr/bin/newuidmap && setcap cap_setgid+ep /usr/bin/newgidmap    # in the Dockerfile of this container's image`

const seccompRemedy = "start builder without that filter (systemd: RestrictNamespaces=no, and no SystemCallFilter=)"

// podRemedy lets a pod make user namespaces, and mount a /proc in them.
const podRemedy = `spec:                              # of the pod
  hostUsers: false                 # from Kubernetes 1.33 on: the pod has ids of its own
  containers:
  - securityContext:
      seccompProfile: {type: Unconfined}
      appArmorProfile: {type: Unconfined}
      procMount: Unmasked          # only with hostUsers: false`

const podProcRemedy = `spec:                              # of the pod
  hostUsers: false                 # from Kubernetes 1.33 on
  containers:
  - securityContext:
      procMount: Unmasked`

const podFuseRemedy = `spec:                              # of the pod; or use --storage-driver overlay
  containers:
  - resources:
      limits: {smarter-devices/fuse: 1}    # what the cluster's device plugin calls /dev/fuse`

// engine is who has started the container: its kind, or CI's runner of that kind.
func (f facts) engine() string {
	if f.ci != "" && f.container != "" {
		return f.ci + " " + f.container
	}
	return f.container
}

// pick gives the remedy of the engine, else of the kind of container.
func (f facts) pick(remedies map[string]string) string {
	if r := remedies[f.engine()]; r != "" {
		return r
	}
	return remedies[f.container]
}

// unconfine has the container started without its seccomp filter and AppArmor
// profile.
func (f facts) unconfine() string {
	return f.pick(map[string]string{
		"docker":     "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …",
		"podman":     "podman run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …",
		"kubernetes": podRemedy,
		"container":  "start the container without its seccomp filter and AppArmor profile",
		"github docker": `container:                         # of the job, in the workflow
  options: --security-opt seccomp=unconfined --security-opt apparmor=unconfined --device /dev/fuse`,
		"gitlab docker": `[runners.docker]                   # in the runner's config.toml
  security_opt = ["seccomp:unconfined", "apparmor:unconfined"]
  devices = ["/dev/fuse"]`,
		"gitlab kubernetes": `[runners.kubernetes]               # in the runner's config.toml
  host_users = false
  [runners.kubernetes.build_container_security_context]
    seccomp_profile_type = "Unconfined"
    app_armor_profile_type = "Unconfined"
    proc_mount = "Unmasked"`,
	})
}

// unmask has the container started with a /proc of which nothing is covered.
func (f facts) unmask() string {
	if f.container == "" {
		return "grep ' /proc/' /proc/self/mountinfo    # lists what covers parts of /proc: unmount it"
	}
	return f.pick(map[string]string{
		"docker":     "docker run --security-opt systempaths=unconfined …",
		"podman":     "podman run --security-opt unmask=ALL …",
		"kubernetes": podProcRemedy,
		"container":  "start the container with a /proc of which nothing is masked",
		"github docker": `container:                         # of the job, in the workflow
  options: --security-opt systempaths=unconfined`,
		"gitlab docker": "docker runs a runner's jobs with parts of /proc covered; only privileged = true in the runner's config.toml changes that",
		"gitlab kubernetes": `[runners.kubernetes]               # in the runner's config.toml
  host_users = false
  [runners.kubernetes.build_container_security_context]
    proc_mount = "Unmasked"`,
	})
}

// withFuse has the container started with /dev/fuse.
func (f facts) withFuse() string {
	return f.pick(map[string]string{
		"docker":     "docker run --device /dev/fuse …",
		"podman":     "podman run --device /dev/fuse …",
		"kubernetes": podFuseRemedy,
		"container":  "start the container with the device /dev/fuse",
		"github docker": `container:                         # of the job, in the workflow
  options: --device /dev/fuse`,
		"gitlab docker": `[runners.docker]                   # in the runner's config.toml
  devices = ["/dev/fuse"]`,
	})
}

// unlabel has SELinux let the process do what it has just been denied.
func (f facts) unlabel() string {
	return f.pickOr(map[string]string{
		"docker": "docker run --security-opt label=disable …",
		"podman": "podman run --security-opt label=disable …",
		"kubernetes": `spec:                              # of the pod
  containers:
  - securityContext:
      seLinuxOptions: {type: container_engine_t}    # or spc_t, where the node's policy lacks that`,
	}, "sudo sh -c 'ausearch -m avc -ts recent | audit2allow -M builder && semodule -i builder.pp'    # permits what was denied lately")
}

func (f facts) pickOr(remedies map[string]string, other string) string {
	if r := f.pick(remedies); r != "" {
		return r
	}
	return other
}
