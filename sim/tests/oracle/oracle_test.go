// Runs Kubernetes' own HPA controller (reconcileAutoscaler, with its clients faked and its clock driven by synctest) over
// random HPAs and metrics, and writes what it decided to hpa.json, which replay/tests/hpa_oracle.rs replays.
// run.sh puts it into the controller's package, where it sees the unexported parts.
package podautoscaler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"testing"
	"testing/synctest"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	corelisters "k8s.io/client-go/listers/core/v1"
	scaleclient "k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	autoscalingapiv2 "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
	metricsclient "k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/monitor"
	"k8s.io/kubernetes/pkg/controller/util/consistency"
	"k8s.io/kubernetes/pkg/controller/util/selectors"
)

type oracleCase struct {
	Min      int32                                          `json:"min"`
	Max      int32                                          `json:"max"`
	Behavior *autoscalingv2.HorizontalPodAutoscalerBehavior `json:"behavior"`
	Targets  []int64                                        `json:"targets"` // milli
	Start    int32                                          `json:"start"`
	Steps    []oracleStep                                   `json:"steps"`
}

type oracleStep struct {
	At      int64    `json:"at"`     // seconds since the first possible sync
	Status  int32    `json:"status"` // status.replicas before
	Values  []*int64 `json:"values"` // milli, null: failed
	Desired int32    `json:"desired"`
	Able    string   `json:"able"`    // reason of AbleToScale
	Limited string   `json:"limited"` // reason of ScalingLimited when it is true
}

// oracleTarget is the scale subresource and the metrics API of one case.
type oracleTarget struct {
	scale  autoscalingv1.Scale
	values map[string]*int64
}

func (o *oracleTarget) Scales(string) scaleclient.ScaleInterface { return o }
func (o *oracleTarget) Get(context.Context, schema.GroupResource, string, metav1.GetOptions) (*autoscalingv1.Scale, error) {
	return o.scale.DeepCopy(), nil
}
func (o *oracleTarget) Update(_ context.Context, _ schema.GroupResource, scale *autoscalingv1.Scale, _ metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	o.scale.Spec = scale.Spec
	return scale, nil
}
func (o *oracleTarget) Patch(context.Context, schema.GroupVersionResource, string, types.PatchType, []byte, metav1.PatchOptions) (*autoscalingv1.Scale, error) {
	return nil, errors.New("not used")
}

type oracleMetrics struct {
	metricsclient.MetricsClient
	target *oracleTarget
}

func (o oracleMetrics) GetExternalMetric(name, _ string, _ labels.Selector) ([]int64, time.Time, error) {
	if value := o.target.values[name]; value != nil {
		return []int64{*value}, time.Now(), nil
	}
	return nil, time.Time{}, errors.New("failed")
}

func randomRules(r *rand.Rand) *autoscalingv2.HPAScalingRules {
	if r.Intn(4) == 0 {
		return nil
	}
	rules := &autoscalingv2.HPAScalingRules{}
	if r.Intn(2) == 0 {
		window := []int32{0, 15, 60, 300}[r.Intn(4)]
		rules.StabilizationWindowSeconds = &window
	}
	if r.Intn(3) == 0 {
		policy := []autoscalingv2.ScalingPolicySelect{"Max", "Min", "Disabled"}[r.Intn(3)]
		rules.SelectPolicy = &policy
	}
	for range r.Intn(3) {
		rules.Policies = append(rules.Policies, autoscalingv2.HPAScalingPolicy{
			Type:          []autoscalingv2.HPAScalingPolicyType{"Pods", "Percent"}[r.Intn(2)],
			Value:         []int32{1, 2, 5, 10, 50, 100, 300}[r.Intn(7)],
			PeriodSeconds: []int32{1, 15, 30, 60, 120}[r.Intn(5)],
		})
	}
	if r.Intn(2) == 0 {
		tolerance := resource.MustParse([]string{"0", "50m", "0.2"}[r.Intn(3)])
		rules.Tolerance = &tolerance
	}
	return rules
}

func runOracle(t *testing.T, r *rand.Rand) oracleCase {
	min := int32(1 + r.Intn(4))
	c := oracleCase{Min: min, Max: min + int32(r.Intn(80)), Start: int32(r.Intn(50))}
	if r.Intn(4) > 0 {
		c.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: randomRules(r), ScaleDown: randomRules(r)}
	}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "o", Namespace: "n"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "o", APIVersion: "apps/v1"},
			MinReplicas:    &c.Min, MaxReplicas: c.Max, Behavior: c.Behavior.DeepCopy(),
		},
	}
	for i := range 1 + r.Intn(2) {
		target := []int64{500, 1000, 50000, 100000}[r.Intn(4)]
		c.Targets = append(c.Targets, target)
		hpa.Spec.Metrics = append(hpa.Spec.Metrics, autoscalingv2.MetricSpec{
			Type: autoscalingv2.ExternalMetricSourceType,
			External: &autoscalingv2.ExternalMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: fmt.Sprint("m", i)},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewMilliQuantity(target, resource.DecimalSI)},
			},
		})
	}
	autoscalingapiv2.SetDefaults_HorizontalPodAutoscalerBehavior(hpa)

	target := &oracleTarget{values: map[string]*int64{}}
	target.scale.Spec.Replicas, target.scale.Status.Selector = c.Start, "app=o"
	pods := corelisters.NewPodLister(cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}))
	client := fake.NewSimpleClientset(hpa.DeepCopy())
	controller := &HorizontalController{
		scaleNamespacer: target, hpaNamespacer: client.AutoscalingV2(),
		mapper:    testrestmapper.TestOnlyStaticRESTMapper(legacyscheme.Scheme),
		tolerance: 0.1, downscaleStabilisationWindow: 5 * time.Minute,
		eventRecorder: &record.FakeRecorder{}, monitor: monitor.New(), podLister: pods,
		replicaCalc:      NewReplicaCalculator(oracleMetrics{target: target}, pods, time.Minute, time.Minute),
		recommendations:  map[string][]timestampedRecommendation{},
		scaleUpEvents:    map[string][]timestampedScaleEvent{},
		scaleDownEvents:  map[string][]timestampedScaleEvent{},
		selectorTracker:  newBiMultimapSelectorTracker(),
		consistencyStore: consistency.NewNoopConsistencyStore(),
	}
	controller.selectorTracker.PutIfAbsent("n", selectors.Parse("n/o"), labels.Nothing())

	start := time.Now()
	load := 5.0
	for range 20 {
		time.Sleep(time.Duration([]int{1, 5, 15, 15, 15, 30, 90}[r.Intn(7)]) * time.Second)
		step := oracleStep{At: int64(time.Since(start).Seconds()), Status: target.scale.Spec.Replicas}
		if r.Intn(6) == 0 {
			step.Status -= int32(r.Intn(int(step.Status)/2 + 1))
		}
		target.scale.Status.Replicas = step.Status
		if r.Intn(3) == 0 {
			load = r.Float64() * float64(c.Max) * 1.1
		}
		for i, perPod := range c.Targets {
			var value *int64
			if r.Intn(12) > 0 {
				v := int64((load + r.Float64()*3) * float64(perPod))
				value = &v
			}
			target.values[fmt.Sprint("m", i)] = value
			step.Values = append(step.Values, value)
		}
		_ = controller.reconcileAutoscaler(t.Context(), hpa, "n/o")
		hpa, _ = client.AutoscalingV2().HorizontalPodAutoscalers("n").Get(t.Context(), "o", metav1.GetOptions{})
		step.Desired = target.scale.Spec.Replicas
		for _, condition := range hpa.Status.Conditions {
			if condition.Type == autoscalingv2.AbleToScale {
				step.Able = condition.Reason
			}
			if condition.Type == autoscalingv2.ScalingLimited && condition.Status == v1.ConditionTrue {
				step.Limited = condition.Reason
			}
		}
		if step.Able == "FailedGetScale" {
			t.Fatal("the fake scale was not found")
		}
		c.Steps = append(c.Steps, step)
	}
	return c
}

func TestOracle(t *testing.T) {
	cases := make([]oracleCase, 150)
	for seed := range cases {
		synctest.Test(t, func(t *testing.T) { cases[seed] = runOracle(t, rand.New(rand.NewSource(int64(seed)))) })
	}
	out, err := json.Marshal(cases)
	if err == nil {
		err = os.WriteFile(os.Getenv("ORACLE_OUT"), out, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
