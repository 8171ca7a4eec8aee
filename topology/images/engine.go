package images

import (
	"context"
	"io"

	"github.com/moby/moby/client"
)

// Engine is what resolving and building use of a Docker engine.
type Engine interface {
	ImageInspect(ctx context.Context, image string, o ...client.ImageInspectOption) (client.ImageInspectResult, error)
	ImageList(ctx context.Context, o client.ImageListOptions) (client.ImageListResult, error)
	ImageTag(ctx context.Context, o client.ImageTagOptions) (client.ImageTagResult, error)
	ImagePull(ctx context.Context, ref string, o client.ImagePullOptions) (client.ImagePullResponse, error)
	DistributionInspect(ctx context.Context, ref string, o client.DistributionInspectOptions) (client.DistributionInspectResult, error)
	ImageImport(ctx context.Context, source client.ImageImportSource, ref string, o client.ImageImportOptions) (client.ImageImportResult, error)
	ImageBuild(ctx context.Context, buildContext io.Reader, o client.ImageBuildOptions) (client.ImageBuildResult, error)
	ServerVersion(ctx context.Context, o client.ServerVersionOptions) (client.ServerVersionResult, error)

	ContainerCreate(ctx context.Context, o client.ContainerCreateOptions) (client.ContainerCreateResult, error)
	ContainerList(ctx context.Context, o client.ContainerListOptions) (client.ContainerListResult, error)
	ContainerStart(ctx context.Context, container string, o client.ContainerStartOptions) (client.ContainerStartResult, error)
	ContainerStop(ctx context.Context, container string, o client.ContainerStopOptions) (client.ContainerStopResult, error)
	ContainerInspect(ctx context.Context, container string, o client.ContainerInspectOptions) (client.ContainerInspectResult, error)
	ContainerLogs(ctx context.Context, container string, o client.ContainerLogsOptions) (client.ContainerLogsResult, error)
	ContainerRemove(ctx context.Context, container string, o client.ContainerRemoveOptions) (client.ContainerRemoveResult, error)
	CopyToContainer(ctx context.Context, container string, o client.CopyToContainerOptions) (client.CopyToContainerResult, error)
	CopyFromContainer(ctx context.Context, container string, o client.CopyFromContainerOptions) (client.CopyFromContainerResult, error)
}

var _ Engine = (*client.Client)(nil)
