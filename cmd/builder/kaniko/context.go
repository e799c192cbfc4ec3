package kaniko

import (
	"encoding/base64"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
)

const bucketRemedy = "let another container of the pod fetch it into a volume, and give that: --context=dir:///workspace\n" +
	"or pipe it: gsutil cat gs://BUCKET/context.tar.gz | executor --context=tar://stdin …"

// stdin is how bud calls a build context from the standard input.
const stdin = "-"

// readContext reads where build context and Dockerfile come from.
func (p *Plan) readContext(v Values, env Environment) error {
	given, sub := v.String("context"), v.String("context-sub-path")
	scheme, rest, isURL := strings.Cut(given, "://")
	var ref string
	switch {
	case given == "":
		return fault.New("name a directory: --context=dir:///workspace", "please specify a path to the build context with the --context flag")
	case !isURL:
		ref = filepath.Join(given, sub)
	case scheme == "dir":
		ref = filepath.Join(rest, sub)
	case scheme == "tar":
		ref = stdin
		if rest != "stdin" {
			p.Stdin = rest
		}
	case scheme == "git":
		repo, err := readGit(rest, v.StringSlice("git"), env)
		if err != nil {
			return err
		}
		ref, sub = repo.address(sub), ""
		p.Env, p.Build = append(p.Env, repo.env...), append(p.Build, repo.flags...)
		p.Notes = append(p.Notes, repo.notes...)
	case scheme == "http" || scheme == "https":
		if isBlob(given) {
			return fault.New(bucketRemedy+"\nor give its address with a signature (…?sv=…&sig=…)", "--context %s: builder has no key for Azure's store", given)
		}
		ref = given
	case scheme == "gs" || scheme == "s3":
		return fault.New(bucketRemedy, "--context %s: builder speaks with no store of a cloud", given)
	default:
		return fault.New("", "unknown build context prefix provided, please use one of the following: dir://, tar://, git://, https://")
	}
	if strings.HasPrefix(ref, "-") && ref != stdin {
		ref = "./" + ref // a directory, and no option
	}
	fetched := isURL && scheme != "dir"
	if fetched && sub != "" {
		p.flag("context-sub-path", sub)
	}
	if err := p.readDockerfile(v, fetched); err != nil {
		return err
	}
	p.Build = append(p.Build, ref)
	return nil
}

// readDockerfile tells where the Dockerfile is. Kaniko looks for it where it is
// started, then in the build context; so does bud, but that it takes one from the
// standard input where the context is fetched.
func (p *Plan) readDockerfile(v Values, fetched bool) error {
	path := v.String("dockerfile")
	switch {
	case !v.IsSet("dockerfile"):
		return nil
	case strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://"):
		return fault.New("fetch it first, and give its path", "--dockerfile %s: a Dockerfile is read from a file", path)
	case !fetched || !exists(path):
		p.flag("file", path)
		return nil
	case p.Stdin != "" || strings.HasPrefix(v.String("context"), "tar://"):
		return fault.New("put it into the archive, or unpack that and give the directory: --context=dir://DIR",
			"--dockerfile %s is no part of the build context, which is an archive", path)
	}
	p.Stdin = path
	p.flag("file", stdin)
	return nil
}

// blobHost is Azure's store of files, in its clouds.
var blobHost = regexp.MustCompile(`\.blob\.(core\.windows\.net|core\.chinacloudapi\.cn|core\.cloudapi\.de|core\.usgovcloudapi\.net)$`)

// isBlob tells an address there that wants a key, rather than having a signature.
func isBlob(address string) bool {
	u, err := url.Parse(address)
	return err == nil && blobHost.MatchString(u.Hostname()) && !u.Query().Has("sig")
}

// repository is a git repository as build context.
type repository struct {
	url        *url.URL
	ref        string
	submodules bool
	env, flags []string
	notes      []string
}

// gitLogin is the variable that has the login to the repository. It is shown to git
// alone, by a secret.
const gitLogin = "_BUILDER_GIT_LOGIN"

// readGit reads what follows git://, HOST/PATH[#REF[#COMMIT]], and the values of
// --git.
func readGit(text string, options []string, env Environment) (*repository, error) {
	parts := strings.Split(text, "#")
	method := env.get("GIT_PULL_METHOD")
	if method != "http" {
		method = "https"
	}
	u, err := url.Parse(method + "://" + parts[0])
	if err != nil || u.Host == "" {
		return nil, fault.New("write it as git://HOST/REPOSITORY.git#refs/heads/BRANCH", "--context git://%s is no address of a repository", text)
	}
	if !strings.HasSuffix(u.Path, ".git") { // by which bud knows a repository
		u.Path = strings.TrimSuffix(u.Path, "/") + ".git"
	}
	r := &repository{url: u}
	if len(parts) > 1 {
		r.ref = parts[1]
	}
	for _, option := range options {
		if err := r.option(option); err != nil {
			return nil, err
		}
	}
	if len(parts) > 2 {
		r.ref = parts[2]
	}
	r.login(env)
	return r, nil
}

// option reads one value of --git.
func (r *repository) option(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return fault.New("write --git=branch=NAME", "--git %q: invalid git flag, must be in the key=value format", text)
	}
	is, err := strconv.ParseBool(value)
	switch name {
	case "branch":
		r.ref, err = value, nil
	case "recurse-submodules":
		r.submodules = is
	case "insecure-skip-tls":
		if is {
			r.env = append(r.env, "GIT_SSL_NO_VERIFY=true")
		}
	case "single-branch":
		r.notes = append(r.notes, "--git "+name+" does nothing here: one commit is fetched")
	case "depth":
		_, err = strconv.Atoi(value)
		r.notes = append(r.notes, "--git "+name+" does nothing here: one commit is fetched")
	default:
		return fault.New("it can be branch, single-branch, depth, recurse-submodules or insecure-skip-tls", "--git %s isn't known", name)
	}
	if err != nil {
		return fault.New("", "--git %s can't be read: %w", text, err)
	}
	return nil
}

// login takes the login from the environment, as kaniko has it, or from the address.
func (r *repository) login(env Environment) {
	user, password := env.get("GIT_USERNAME"), env.get("GIT_PASSWORD")
	if token := env.get("GIT_TOKEN"); token != "" {
		user, password = token, ""
	}
	if user == "" && password == "" && r.url.User != nil {
		user = r.url.User.Username()
		password, _ = r.url.User.Password()
	}
	r.url.User = nil
	if user == "" && password == "" {
		return
	}
	r.env = append(r.env, gitLogin+"=Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	r.flags = append(r.flags, "--secret=id=GIT_AUTH_HEADER."+r.url.Host+",env="+gitLogin)
}

// address is BuildKit's for a directory of the repository.
func (r *repository) address(sub string) string {
	query := url.Values{"submodules": {strconv.FormatBool(r.submodules)}}
	if r.ref != "" {
		query.Set("ref", r.ref)
	}
	if sub = strings.Trim(path.Clean("/"+sub), "/"); sub != "" {
		query.Set("subdir", sub)
	}
	return r.url.String() + "?" + query.Encode()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
