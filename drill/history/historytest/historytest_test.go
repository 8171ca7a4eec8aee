package historytest

import (
	"reflect"
	"testing"

	"github.com/kirikae/kirikae/drill/history"
)

func TestGoodRunSurvivesItsFolder(t *testing.T) {
	run, folder := Good(1), t.TempDir()
	if err := Write(run, folder); err != nil {
		t.Fatal(err)
	}
	back, err := history.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	back.Folder = ""
	if len(back.Operations) != len(run.Operations) || !reflect.DeepEqual(back.Operations, run.Operations) {
		t.Errorf("operations differ: %d written, %d read", len(run.Operations), len(back.Operations))
	}
	if !reflect.DeepEqual(back.Marks, run.Marks) {
		t.Error("marks differ")
	}
	if !reflect.DeepEqual(back.Journal, run.Journal) {
		t.Error("journal differs")
	}
	if !reflect.DeepEqual(back.Evidence, run.Evidence) {
		t.Error("evidence differs")
	}
	if !reflect.DeepEqual(back.Meta, run.Meta) {
		t.Error("meta differs")
	}
}

func TestGoodRunsAreTheirSeeds(t *testing.T) {
	if !reflect.DeepEqual(Good(7), Good(7)) {
		t.Error("one seed gave two histories")
	}
	if reflect.DeepEqual(Good(7).Operations, Good(8).Operations) {
		t.Error("two seeds gave one history")
	}
}
