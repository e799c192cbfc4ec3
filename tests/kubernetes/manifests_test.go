// Package kubernetes holds the manifests of examples/kubernetes against the types
// of Kubernetes's own interface, and against its policies for pods. It is a module
// of its own, so that builder's knows nothing of Kubernetes.
package kubernetes

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	sigsyaml "sigs.k8s.io/yaml"
)

const examples = "../../examples/kubernetes"

// manifests are the objects of a file.
type manifests struct {
	jobs   []batchv1.Job
	claims []corev1.PersistentVolumeClaim
}

// read decodes a file strictly: a field that the type lacks, or one that stands
// twice, is an error.
func read(t *testing.T, file string) manifests {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(examples, file))
	if err != nil {
		t.Fatal(err)
	}
	var found manifests
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(data)))
	defer documents.Close()
	buffer := make([]byte, len(data)+1)
	for {
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		var kind metav1.TypeMeta
		if err := sigsyaml.Unmarshal(buffer[:n], &kind); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		switch kind {
		case metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}:
			found.jobs = append(found.jobs, batchv1.Job{})
			err = sigsyaml.UnmarshalStrict(buffer[:n], &found.jobs[len(found.jobs)-1])
		case metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}:
			found.claims = append(found.claims, corev1.PersistentVolumeClaim{})
			err = sigsyaml.UnmarshalStrict(buffer[:n], &found.claims[len(found.claims)-1])
		default:
			t.Fatalf("%s has an object of the kind %v, which no test knows", file, kind)
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// files are the examples, and what each says of itself.
var files = map[string]struct {
	// level is the strictest policy that the pod passes, and lacks is what it
	// would have to give up for a stricter one.
	level api.Level
	lacks []string
}{
	"1-restricted.yaml":     {level: api.LevelRestricted},
	"2-user-namespace.yaml": {level: api.LevelPrivileged, lacks: []string{"forbidden AppArmor profile", "seccompProfile"}},
	"3-unconfined.yaml":     {level: api.LevelPrivileged, lacks: []string{"forbidden AppArmor profile", "seccompProfile"}},
	"4-chroot.yaml":         {level: api.LevelBaseline, lacks: []string{"runAsNonRoot != true", "runAsUser=0", "unrestricted capabilities"}},
}

func TestEveryExampleIsOfKubernetes(t *testing.T) {
	found, err := filepath.Glob(filepath.Join(examples, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		file := filepath.Base(path)
		if _, known := files[file]; !known {
			t.Errorf("%s: say in files what it is", file)
		}
		m := read(t, file)
		if len(m.jobs) != 1 {
			t.Fatalf("%s has %d jobs, not one", file, len(m.jobs))
		}
		job := m.jobs[0]
		t.Run(file, func(t *testing.T) { checkJob(t, job, m.claims) })
	}
	if len(found) != len(files) {
		t.Errorf("there are %d examples, and %d known", len(found), len(files))
	}
}

// checkJob checks what all examples have alike.
func checkJob(t *testing.T, job batchv1.Job, claims []corev1.PersistentVolumeClaim) {
	pod := job.Spec.Template.Spec
	if pod.RestartPolicy != corev1.RestartPolicyNever || job.Spec.BackoffLimit == nil || *job.Spec.BackoffLimit != 0 {
		t.Error("a build that fails is started again")
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Error("a build sees the service account's token")
	}
	if len(pod.Containers) != 1 {
		t.Fatalf("it has %d containers", len(pod.Containers))
	}
	c := pod.Containers[0]
	if !strings.HasPrefix(c.Image, "ghcr.io/builder-oci/builder:") {
		t.Errorf("its image is %s", c.Image)
	}
	mounts := map[string]string{}
	for _, m := range c.VolumeMounts {
		mounts[m.MountPath] = m.Name
	}
	for _, m := range mounts {
		if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m }) {
			t.Errorf("there is no volume %s", m)
		}
	}
	for _, v := range pod.Volumes {
		switch {
		case mounts["/kaniko/.docker"] == v.Name && (v.Secret == nil || v.Secret.Items[0].Path != "config.json" || v.Secret.Items[0].Key != corev1.DockerConfigJsonKey):
			t.Error("the login isn't where kaniko's users have it")
		case v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil:
			t.Errorf("the volume %s may fill the node's disk", v.Name)
		case v.PersistentVolumeClaim != nil && !slices.ContainsFunc(claims, func(c corev1.PersistentVolumeClaim) bool { return c.Name == v.PersistentVolumeClaim.ClaimName }):
			t.Errorf("there is no claim %s", v.PersistentVolumeClaim.ClaimName)
		}
	}
	store := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "BUILDER_ROOT" })
	if store < 0 || mounts[filepath.Dir(c.Env[store].Value)] == "" {
		t.Error("the store is on no volume")
	}
	checkMemory(t, c.Resources)
}

// ceiling is what builder itself takes at most: docs/performance.md.
const ceiling = 64 << 20

func checkMemory(t *testing.T, r corev1.ResourceRequirements) {
	request, limit := r.Requests.Memory().Value(), r.Limits.Memory().Value()
	if request < 2*ceiling || limit < request || limit < 4*ceiling {
		t.Errorf("%d and %d bytes of memory are too little: builder takes up to %d, and others run beside it", request, limit, ceiling)
	}
	if !r.Limits.Cpu().IsZero() {
		t.Error("a limit of processors only slows builds down")
	}
}

// Each pod passes the policy that its file claims, at every version, and no
// stricter one, for the reasons that the file gives.
func TestPoliciesAreAsTheExamplesSay(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stricter := map[api.Level]api.Level{api.LevelPrivileged: api.LevelBaseline, api.LevelBaseline: api.LevelRestricted}
	for file, claim := range files {
		template := read(t, file).jobs[0].Spec.Template
		says := func(level api.Level, version api.Version) policy.AggregateCheckResult {
			return policy.AggregateCheckResults(evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: version}, &template.ObjectMeta, &template.Spec))
		}
		for _, version := range []api.Version{api.MajorMinorVersion(1, 28), api.MajorMinorVersion(1, 33), api.LatestVersion()} {
			if result := says(claim.level, version); !result.Allowed {
				t.Errorf("%s doesn't pass %s, %s: %s", file, claim.level, version.String(), result.ForbiddenDetail())
			}
		}
		next, isThere := stricter[claim.level]
		if !isThere {
			continue
		}
		result := says(next, api.LatestVersion())
		if result.Allowed {
			t.Errorf("%s passes %s even", file, next)
		}
		detail := result.ForbiddenReason() + ": " + result.ForbiddenDetail()
		for _, lack := range claim.lacks {
			if !strings.Contains(detail, lack) {
				t.Errorf("%s and %s: %q isn't among %s", file, next, lack, detail)
			}
		}
		if next == api.LevelBaseline && len(result.ForbiddenReasons) != len(claim.lacks) {
			t.Errorf("%s has other exceptions than it says: %s", file, detail)
		}
	}
}
