// cert-manager's own controllers in a program of this repository. Its command cannot be had from a module proxy: the go.mod of
// cmd/controller names another path than its folder's. The packages can, so this is that command in short, without ACME,
// Vault and Venafi: it issues and renews by self-signed and CA issuers, and makes the certificates that annotations of
// Gateways ask for. No webhook checks what is applied, and it acts as whoever the kubeconfig names.
package main

import (
	"context"
	"flag"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"

	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/gateways"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

func main() {
	gateways := flag.Bool("gateways", false, "read the annotations of Gateways")
	listen := flag.String("listen", "", "ADDRESS:PORT that answers 200 once all controllers run")
	flag.Parse()
	log := klog.Background()
	ctx, stop := signal.NotifyContext(klog.NewContext(context.Background(), log), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, stop, *gateways); err != nil {
		log.Error(err, "cannot start")
		os.Exit(1)
	}
	go func() {
		log.Error(http.ListenAndServe(*listen, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), "cannot listen")
		stop()
	}()
	<-ctx.Done()
}

// Starts all controllers that the imports above have registered.
func run(ctx context.Context, stop func(), gateways bool) error {
	factory, err := controller.NewContextFactory(ctx, options(gateways))
	if err != nil {
		return err
	}
	shared, err := factory.Build()
	if err != nil {
		return err
	}
	for name, construct := range controller.Known() {
		if name == "gateway-shim" && !gateways {
			continue
		}
		one, err := construct(factory)
		if err != nil {
			return err
		}
		go func() {
			if err := one.Run(2, ctx); err != nil {
				klog.FromContext(ctx).Error(err, "ended", "controller", name)
			}
			stop()
		}()
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.GWShared.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	shared.SharedInformerFactory.WaitForCacheSync(ctx.Done())
	return nil
}

// The defaults of cert-manager's command.
func options(gateways bool) controller.ContextOptions {
	return controller.ContextOptions{
		Kubeconfig:         os.Getenv("KUBECONFIG"),
		KubernetesAPIQPS:   20,
		KubernetesAPIBurst: 50,
		IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: "cert-manager"},
		IngressShimOptions: controller.IngressShimOptions{
			DefaultIssuerKind:        "Issuer",
			DefaultIssuerGroup:       "cert-manager.io",
			GatewayAPIExtraProtocols: sets.New[string](),
		},
		CertificateOptions: controller.CertificateOptions{
			CopiedAnnotationPrefixes:                 []string{"*", "-kubectl.kubernetes.io/", "-fluxcd.io/", "-argocd.argoproj.io/"},
			CertificateRequestMinimumBackoffDuration: time.Hour,
			CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
		},
		ConfigOptions: controller.ConfigOptions{EnableGatewayAPI: gateways},
	}
}
