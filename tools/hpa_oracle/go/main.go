// SPDX-FileCopyrightText: The Tidegate authors
// SPDX-License-Identifier: Apache-2.0

// Command hpa-oracle runs Kubernetes' own HorizontalController over scenarios, in virtual time.
//
// It reads scenarios as JSON lines from standard input, and writes the controller's decisions as JSON lines to
// standard output. A scenario holds the spec of a HorizontalPodAutoscaler, and for each sync the pods and metrics
// that the controller sees. The replicas follow the controller: its update of the scale is its next sync's spec.
// testing/synctest moves the clock forward as soon as all goroutines wait, so an hour takes milliseconds.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	scalefake "k8s.io/client-go/scale/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	defaultsv2 "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

// The defaults of kube-controller-manager's --horizontal-pod-autoscaler-* options.
const (
	syncPeriod              = 15 * time.Second
	downscaleStabilisation  = 5 * time.Minute
	tolerance               = 0.1
	cpuInitializationPeriod = 5 * time.Minute
	initialReadinessDelay   = 30 * time.Second
)

const (
	namespace = "default"
	target    = "model"
	container = "kserve-container"
)

var podLabels = map[string]string{"app": target}

// scenario has all times in seconds from its start. The sync with index i happens at 15 * (i + 1).
type scenario struct {
	ID       int                                       `json:"id"`
	HPA      autoscalingv2.HorizontalPodAutoscalerSpec `json:"hpa"`
	Replicas int32                                     `json:"replicas"`
	Syncs    []observation                             `json:"syncs"`
}

// observation is the cluster at one sync. A pod that is absent has not changed since the last sync.
type observation struct {
	Scale          *int32                     `json:"scale"` // set by a user since the last sync
	StatusReplicas int32                      `json:"statusReplicas"`
	Pods           map[string]*pod            `json:"pods"`    // null: deleted
	Metrics        map[string]json.RawMessage `json:"metrics"` // absent: the metrics API fails
}

type pod struct {
	Phase     corev1.PodPhase        `json:"phase"`
	Deleted   bool                   `json:"deleted"`
	StartTime *float64               `json:"startTime"`
	Ready     corev1.ConditionStatus `json:"ready"` // "": no condition
	ReadyTime float64                `json:"readyTime"`
	Request   *int64                 `json:"request"`
}

// podMetric is [value, timestamp, window].
type podMetric [3]float64

type decision struct {
	Replicas       int32  `json:"replicas"`
	AbleToScale    string `json:"ableToScale"`
	ScalingActive  string `json:"scalingActive"`
	ScalingLimited string `json:"scalingLimited"`
}

type result struct {
	ID        int        `json:"id"`
	Decisions []decision `json:"decisions"`
}

// world is the cluster that the controller observes, and the metrics API.
type world struct {
	mu       sync.Mutex
	start    time.Time
	replicas int32
	syncs    []time.Duration
	observed observation
}

func (w *world) at(seconds float64) time.Time {
	return w.start.Add(time.Duration(seconds * float64(time.Second)))
}

func (w *world) scale() *autoscalingv1.Scale {
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: target, Namespace: namespace},
		Spec:       autoscalingv1.ScaleSpec{Replicas: w.replicas},
		Status: autoscalingv1.ScaleStatus{
			Replicas: w.observed.StatusReplicas,
			Selector: labels.Set(podLabels).String(),
		},
	}
}

func (w *world) getScale(clienttesting.Action) (bool, runtime.Object, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.syncs = append(w.syncs, time.Since(w.start))
	return true, w.scale(), nil
}

func (w *world) updateScale(action clienttesting.Action) (bool, runtime.Object, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replicas = action.(clienttesting.UpdateAction).GetObject().(*autoscalingv1.Scale).Spec.Replicas
	return true, w.scale(), nil
}

func (w *world) podMetrics(name string) (metrics.PodMetricsInfo, time.Time, error) {
	var values map[string]podMetric
	if err := w.read(name, &values); err != nil {
		return nil, time.Time{}, err
	}
	info := metrics.PodMetricsInfo{}
	for pod, value := range values {
		info[pod] = metrics.PodMetric{
			Value:     int64(value[0]),
			Timestamp: w.at(value[1]),
			Window:    time.Duration(value[2] * float64(time.Second)),
		}
	}
	return info, time.Now(), nil
}

func (w *world) read(name string, into any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	raw, ok := w.observed.Metrics[name]
	if !ok {
		return errors.New("the metrics API is unavailable")
	}
	return json.Unmarshal(raw, into)
}

// The four methods of metrics.MetricsClient.

func (w *world) GetResourceMetric(_ context.Context, name corev1.ResourceName, _ string, _ labels.Selector, _ string) (metrics.PodMetricsInfo, time.Time, error) {
	return w.podMetrics(string(name))
}

func (w *world) GetRawMetric(name string, _ string, _ labels.Selector, _ labels.Selector) (metrics.PodMetricsInfo, time.Time, error) {
	return w.podMetrics(name)
}

func (w *world) GetObjectMetric(name string, _ string, _ *autoscalingv2.CrossVersionObjectReference, _ labels.Selector) (int64, time.Time, error) {
	var value int64
	err := w.read(name, &value)
	return value, time.Now(), err
}

func (w *world) GetExternalMetric(name string, _ string, _ labels.Selector) ([]int64, time.Time, error) {
	var value int64
	err := w.read(name, &value)
	return []int64{value}, time.Now(), err
}

// observe replaces the metrics and applies the changes of pods to the store that the controller lists.
func (w *world) observe(next observation, pods cache.Store) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if next.Scale != nil {
		w.replicas = *next.Scale
	}
	w.observed = next
	for name, change := range next.Pods {
		object := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: podLabels}}
		if change == nil {
			if err := pods.Delete(object); err != nil {
				return err
			}
			continue
		}
		w.describe(change, object)
		if err := pods.Add(object); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) describe(change *pod, object *corev1.Pod) {
	object.Spec.Containers = []corev1.Container{{Name: container}}
	if change.Request != nil {
		requests := corev1.ResourceList{}
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			requests[name] = *resource.NewMilliQuantity(*change.Request, resource.DecimalSI)
		}
		object.Spec.Containers[0].Resources.Requests = requests
	}
	object.Status.Phase = change.Phase
	if change.Deleted {
		object.DeletionTimestamp = &metav1.Time{Time: w.start}
	}
	if change.StartTime != nil {
		object.Status.StartTime = &metav1.Time{Time: w.at(*change.StartTime)}
	}
	if change.Ready != "" {
		object.Status.Conditions = []corev1.PodCondition{{
			Type:               corev1.PodReady,
			Status:             change.Ready,
			LastTransitionTime: metav1.Time{Time: w.at(change.ReadyTime)},
		}}
	}
}

// run returns the decisions of one scenario. The caller is inside a synctest bubble.
func run(s scenario) (result, error) {
	ctx, cancel := context.WithCancel(context.Background())
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: target, Namespace: namespace},
		Spec:       s.HPA,
	}
	hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{
		APIVersion: "apps/v1", Kind: "Deployment", Name: target,
	}
	defaultsv2.SetDefaults_HorizontalPodAutoscaler(hpa)
	client := fake.NewSimpleClientset(hpa)
	w := &world{start: time.Now(), replicas: s.Replicas}
	scales := &scalefake.FakeScaleClient{}
	scales.AddReactor("get", "deployments", w.getScale)
	scales.AddReactor("update", "deployments", w.updateScale)
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Group: "apps", Version: "v1"}})
	mapper.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods()
	controller := podautoscaler.NewHorizontalController(
		ctx, client.CoreV1(), scales, client.AutoscalingV2(), mapper, w,
		factory.Autoscaling().V2().HorizontalPodAutoscalers(), pods,
		syncPeriod, downscaleStabilisation, tolerance, cpuInitializationPeriod, initialReadinessDelay,
	)
	factory.Start(ctx.Done())
	go controller.Run(ctx, 1)
	defer func() {
		cancel()
		factory.Shutdown()
		synctest.Wait()
		time.Sleep(30 * time.Second) // virtual: the broadcaster and the queue stop
	}()

	decided := result{ID: s.ID}
	// The pods change halfway between two syncs.
	time.Sleep(syncPeriod / 2)
	for i, next := range s.Syncs {
		if err := w.observe(next, pods.Informer().GetStore()); err != nil {
			return decided, err
		}
		time.Sleep(syncPeriod)
		if len(w.syncs) != i+1 || w.syncs[i] != time.Duration(i+1)*syncPeriod {
			return decided, fmt.Errorf("scenario %d: syncs at %v, expected one each %v", s.ID, w.syncs, syncPeriod)
		}
		current, err := client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(ctx, target, metav1.GetOptions{})
		if err != nil {
			return decided, err
		}
		decided.Decisions = append(decided.Decisions, describeDecision(w.replicas, current))
	}
	return decided, nil
}

func describeDecision(replicas int32, hpa *autoscalingv2.HorizontalPodAutoscaler) decision {
	made := decision{Replicas: replicas}
	for _, condition := range hpa.Status.Conditions {
		switch condition.Type {
		case autoscalingv2.AbleToScale:
			made.AbleToScale = condition.Reason
		case autoscalingv2.ScalingActive:
			made.ScalingActive = condition.Reason
		case autoscalingv2.ScalingLimited:
			made.ScalingLimited = condition.Reason
		}
	}
	return made
}

func runAll(t *testing.T) error {
	klog.SetLogger(klog.Logger{}) // a logger without a sink
	// The default handlers sleep to limit the rate of errors, and that sleep would move the virtual clock.
	utilruntime.ErrorHandlers = []utilruntime.ErrorHandler{func(context.Context, error, string, ...any) {}}
	in := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<20))
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for in.More() {
		var s scenario
		if err := in.Decode(&s); err != nil {
			return err
		}
		var decided result
		var failure error
		synctest.Test(t, func(*testing.T) { decided, failure = run(s) })
		if failure != nil {
			return failure
		}
		if err := encoder.Encode(decided); err != nil {
			return err
		}
	}
	return out.Flush()
}

func main() {
	// testing.Main provides the testing.T that synctest needs, and reports a panic of a scenario.
	match := func(string, string) (bool, error) { return true, nil }
	testing.Main(match, []testing.InternalTest{{Name: "scenarios", F: func(t *testing.T) {
		if err := runAll(t); err != nil {
			fmt.Fprintln(os.Stderr, "hpa-oracle:", err)
			os.Exit(1)
		}
		os.Exit(0) // without testing.Main's line PASS
	}}}, nil, nil)
}
