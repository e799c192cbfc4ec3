package kaniko

// Reasons that several flags have.
const (
	ownStore   = "builder keeps what it knows in its own store"
	ownRetries = "builder tries again by itself what fails for a moment"
	ownRoot    = "builder takes its steps from trees of its own, and never from the file system that it runs in"
	ownLog     = "the log is builder's own"
)

// Table has kaniko's flags: what to build, where it goes, registries, the cache,
// layers, the log, and what is of kaniko's own making.
func Table() []Flag {
	return append(append(buildTable(), registryTable()...), ownTable()...)
}

func buildTable() []Flag {
	return []Flag{
		{Name: "context", Short: "c", Does: Differs, shown: true, make: text("/workspace/"), Usage: "build context: `DIR`, dir://, tar://, tar://stdin, git://, https://"},
		{Name: "context-sub-path", Does: Kept, shown: true, make: text(""), Usage: "take the directory `PATH` of the build context"},
		{Name: "bucket", Short: "b", Does: Refused, make: text(""), Usage: "`BUCKET` with the build context", Why: "builder speaks with no store of a cloud", Remedy: bucketRemedy},
		{Name: "dockerfile", Short: "f", Does: Differs, shown: true, make: text("Dockerfile"), Usage: "read the Dockerfile from `PATH`, in the build context or here"},
		{Name: "build-arg", Does: Kept, shown: true, make: list, Usage: "value of an ARG, `NAME[=VALUE]`, else the environment's"},
		{Name: "target", Does: Kept, shown: true, make: list, Usage: "stop after the stage `NAME`"},
		{Name: "label", Does: Kept, shown: true, make: list, Usage: "add a label `NAME=VALUE` to the image"},
		{Name: "annotation", Does: Kept, make: list, Usage: "add an annotation `NAME=VALUE` to the manifest"},
		{Name: "secret", Does: Kept, make: list, Usage: "what RUN --mount=type=secret shows: `id=ID`,src=FILE or ,env=NAME"},
		{Name: "custom-platform", Does: Kept, shown: true, make: text(""), Usage: "build for `OS/ARCH[/VARIANT]`"},
		{Name: "customPlatform", Does: Kept, make: text(""), Usage: "as --custom-platform: `OS/ARCH[/VARIANT]`"},
		{Name: "git", Does: Differs, make: list, Usage: "of a repository as build context: `branch=NAME` and others"},

		{Name: "destination", Short: "d", Does: Kept, shown: true, make: list, Usage: "push the image to `NAME[:TAG]`; may be repeated"},
		{Name: "no-push", Does: Kept, shown: true, make: no, Usage: "push it nowhere"},
		{Name: "tar-path", Does: Kept, shown: true, make: text(""), Usage: "write it to `FILE`, an archive as docker save makes it"},
		{Name: "tarPath", Does: Kept, make: text(""), Usage: "as --tar-path: `FILE`"},
		{Name: "oci-layout-path", Does: Kept, shown: true, make: text(""), Usage: "write it to `DIR`, an OCI image layout"},
		{Name: "digest-file", Does: Differs, shown: true, make: text(""), Usage: "write the manifest's digest to `FILE`"},
		{Name: "image-name-with-digest-file", Does: Differs, shown: true, make: text(""), Usage: "write NAME@DIGEST of each destination to `FILE`"},
		{Name: "image-name-tag-with-digest-file", Does: Differs, shown: true, make: text(""), Usage: "write NAME:TAG@DIGEST of each destination to `FILE`"},
		{Name: "push-retry", Does: Kept, make: number, Usage: "try a push that fails `N` times more"},
		{Name: "push-ignore-immutable-tag-errors", Does: Kept, make: no, Usage: "let a tag pass that is there and can't change"},
		{Name: "skip-push-permission-check", Does: NoEffect, make: no, Why: "whether the push is allowed is seen when it is done"},

		{Name: "cache", Does: Differs, shown: true, make: no, Usage: "take steps from the cache in builder's store; =false executes all"},
		{Name: "single-snapshot", Does: Kept, make: no, Usage: "make one layer of those that the build adds"},
		{Name: "reproducible", Does: Kept, shown: true, make: no, Usage: "give all that is in the image the same time"},
		{Name: "compression", Does: Kept, make: text(""), Usage: "pack layers by `NAME`: gzip or zstd"},
		{Name: "compression-level", Does: Kept, make: number, Usage: "the compression's level `N`"},
		{Name: "verbosity", Short: "v", Does: Differs, shown: true, make: text("info"), Usage: "`LEVEL` of the log: trace, debug, info, warn, error, fatal or panic"},
	}
}

func registryTable() []Flag {
	return []Flag{
		{Name: "insecure", Does: Kept, shown: true, make: no, Usage: "push to registries without TLS as well"},
		{Name: "skip-tls-verify", Does: Kept, shown: true, make: no, Usage: "push to registries that don't prove themselves"},
		{Name: "insecure-pull", Does: Kept, make: no, Usage: "pull from registries without TLS as well"},
		{Name: "skip-tls-verify-pull", Does: Kept, make: no, Usage: "pull from registries that don't prove themselves"},
		{Name: "insecure-registry", Does: Kept, make: list, Usage: "do without TLS for `REGISTRY`"},
		{Name: "skip-tls-verify-registry", Does: Kept, make: list, Usage: "want no proof of `REGISTRY`"},
		{Name: "registry-mirror", Does: Kept, shown: true, make: list, Usage: "ask `MIRROR[/PATH]` before docker.io"},
		{Name: "registry-map", Does: Kept, make: list, Usage: "`REGISTRY=MIRROR[/PATH][;...]`: ask the mirror before the registry"},
		{Name: "skip-default-registry-fallback", Does: Kept, make: no, Usage: "ask docker.io itself never, where it has mirrors"},
		{Name: "registry-certificate", Does: Kept, make: list, Usage: "`REGISTRY=FILE`: trust the registry for a certificate"},
		{Name: "registry-client-cert", Does: Kept, make: list, Usage: "`REGISTRY=CERT,KEY`: show the registry a certificate"},
		{Name: "image-download-retry", Does: NoEffect, make: number, Why: ownRetries},
		{Name: "image-fs-extract-retry", Does: NoEffect, make: number, Why: ownRetries},
		{
			Name: "credential-helpers", Does: Refused, make: list, Usage: "`HELPER` of kaniko's own making; none is taken",
			Why:    "kaniko's helpers for google, ecr, acr and gitlab are built into kaniko; builder starts those that config.json names",
			Remedy: `put a login into config.json, or {"credHelpers": {"REGISTRY": "NAME"}} and docker-credential-NAME into PATH`,
		},
		{
			Name: "azure-container-registry-config", Does: Refused, make: text(""), Usage: "`FILE` with Azure's credentials",
			Why: "builder reads logins from config.json alone", Remedy: `put {"credHelpers": {"NAME.azurecr.io": "acr-env"}} into config.json, and docker-credential-acr-env into PATH`,
		},
	}
}

func ownTable() []Flag {
	return []Flag{
		{
			Name: "cache-repo", Does: Refused, make: text(""), Usage: "`NAME` of a repository for the cache",
			Why:    "a cache in a registry isn't supported yet",
			Remedy: "leave it out, and keep builder's store on a volume: BUILDER_ROOT=/cache/builder",
		},
		{Name: "cache-dir", Does: NoEffect, make: text("/cache"), Why: "base images lie in builder's store: keep that on a volume by BUILDER_ROOT"},
		{Name: "cache-ttl", Does: NoEffect, make: text("336h0m0s"), Why: "what builder knows of steps is bounded by size, not by age"},
		{Name: "cache-copy-layers", Does: NoEffect, make: no, Why: ownStore},
		{Name: "cache-run-layers", Does: NoEffect, make: yes, Why: ownStore},
		{Name: "compressed-caching", Does: NoEffect, make: yes, Why: ownStore},
		{Name: "no-push-cache", Does: NoEffect, make: no, Why: "no cache is pushed"},

		{Name: "snapshot-mode", Does: NoEffect, make: text("full"), Why: "builder sees what changed without comparing trees, and takes the whole of it"},
		{Name: "snapshotMode", Does: NoEffect, make: text(""), Why: "as --snapshot-mode"},
		{Name: "use-new-run", Does: NoEffect, make: no, Why: "builder has one way to run"},
		{Name: "ignore-path", Does: NoEffect, make: list, Why: ownRoot + "; what a RUN writes there is in the image"},
		{Name: "ignore-var-run", Does: NoEffect, make: yes, Why: ownRoot},
		{Name: "whitelist-var-run", Does: NoEffect, make: yes, Why: ownRoot},
		{Name: "cleanup", Does: NoEffect, make: no, Why: ownRoot},
		{Name: "pre-cleanup", Does: NoEffect, make: no, Why: ownRoot},
		{Name: "preserve-context", Does: NoEffect, make: no, Why: ownRoot},
		{
			Name: "materialize", Does: Refused, make: no, Why: "an image's files aren't laid into the file system that builder runs in",
			Remedy: "builder bud -o DIR    # writes them to a directory",
		},
		{Name: "dryrun", Does: Refused, make: no, Why: "builder has no trial run", Remedy: "builder bud --check    # looks at the Dockerfile alone"},
		{Name: "skip-unused-stages", Does: NoEffect, make: no, Why: "stages that the target doesn't need are never built"},
		{Name: "force-build-metadata", Does: NoEffect, make: no, Why: "instructions that change no file always stand in the history"},
		{Name: "kaniko-dir", Does: Differs, make: text(defaultDir), Usage: "look for .docker/config.json and ssl/certs in `DIR`"},
		{Name: "force", Does: NoEffect, make: no, Why: "builder harms no machine that it runs on"},
		{Name: "log-format", Does: NoEffect, make: text("color"), Why: ownLog},
		{Name: "log-timestamp", Does: NoEffect, make: no, Why: ownLog},
	}
}
