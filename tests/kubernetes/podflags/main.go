// Command podflags prints what tests/places/pod.sh is to be called with to run a
// container as an example of this repository has it: one word on a line, without
// the command. tests/places tests the examples so.
//
//	podflags FILE UID LOGIN
//
// A container that isn't root's runs as UID, and the directory LOGIN stands for the
// secret. A volume claimed by the pod is an empty one.
package main

import (
	"fmt"
	"os"
	"regexp"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: podflags FILE UID LOGIN")
		os.Exit(2)
	}
	job, err := readJob(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "podflags:", err)
		os.Exit(1)
	}
	pod := job.Spec.Template.Spec
	for _, word := range append(podFlags(pod, os.Args[2]), containerFlags(pod, os.Args[3])...) {
		fmt.Println(word)
	}
}

// separator stands between the objects of a file.
var separator = regexp.MustCompile(`(?m)^---$`)

// readJob gives the last object of a file, which is the job.
func readJob(file string) (job batchv1.Job, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return job, err
	}
	objects := separator.Split(string(data), -1)
	return job, yaml.UnmarshalStrict([]byte(objects[len(objects)-1]), &job)
}

// podFlags are of what stands for the whole pod.
func podFlags(pod corev1.PodSpec, ordinary string) (words []string) {
	if user := pod.SecurityContext.RunAsUser; user == nil || *user != 0 {
		words = append(words, "--uid="+ordinary)
	}
	if pod.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeUnconfined {
		words = append(words, "--unconfined")
	}
	if pod.HostUsers != nil && !*pod.HostUsers {
		words = append(words, "--host-users=false")
	}
	return words
}

func containerFlags(pod corev1.PodSpec, login string) (words []string) {
	c := pod.Containers[0]
	may := c.SecurityContext
	if may.AllowPrivilegeEscalation != nil && !*may.AllowPrivilegeEscalation {
		words = append(words, "--no-new-privs")
	}
	if may.ReadOnlyRootFilesystem != nil && *may.ReadOnlyRootFilesystem {
		words = append(words, "--read-only")
	}
	if may.ProcMount != nil && *may.ProcMount == corev1.UnmaskedProcMount {
		words = append(words, "--unmasked")
	}
	for _, capability := range may.Capabilities.Drop {
		if capability == "ALL" {
			words = append(words, "--drop")
		}
	}
	for _, capability := range may.Capabilities.Add {
		words = append(words, "--add="+string(capability))
	}
	for _, variable := range c.Env {
		words = append(words, "--env="+variable.Name+"="+variable.Value)
	}
	for _, mount := range c.VolumeMounts {
		if mount.MountPath == "/kaniko/.docker" {
			words = append(words, "--mount="+login+":"+mount.MountPath)
			continue
		}
		words = append(words, "--empty-dir="+mount.MountPath)
	}
	return append(words, fmt.Sprintf("--memory=%d", c.Resources.Limits.Memory().Value()))
}
