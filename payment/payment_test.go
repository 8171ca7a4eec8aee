package payment_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/paymenttest"
)

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"a", "7-payment-000123", "onprem-4f-1", "A.b_c:d-9", strings.Repeat("k", 64)} {
		if err := payment.CheckKey(key); err != nil {
			t.Errorf("CheckKey(%q): %v", key, err)
		}
	}
	for _, key := range []string{"", strings.Repeat("k", 65), "a b", "a/b", "*/", "a'b", "é", "a\n", "a%"} {
		if payment.CheckKey(key) == nil {
			t.Errorf("CheckKey(%q) takes it", key)
		}
	}
}

func TestParseParameters(t *testing.T) {
	good := payment.Values{Version: 4, Values: paymenttest.Complete("3")}
	good.Values[payment.ParamCassandra] = "127.2.1.1:9042, 127.2.1.2:9042"
	good.Values[payment.ParamAcquirer] = "127.2.101.11:8080"
	p, err := payment.ParseParameters(good)
	if err != nil {
		t.Fatal(err)
	}
	if p.Epoch != 3 || p.Version != 4 || len(p.Cassandra) != 2 || p.Cassandra[1] != "127.2.1.2:9042" || p.Acquirer != "http://127.2.101.11:8080" || !p.ClusterForm {
		t.Errorf("parsed %+v", p)
	}
	for name, value := range map[string]string{
		payment.ParamMySQL: "127.0.0.1", payment.ParamCassandra: " ", payment.ParamDC: "", payment.ParamEpoch: "0",
		payment.ParamAcquirer: "", payment.ParamClusterForm: "yes",
	} {
		v := payment.Values{Values: paymenttest.Complete("1")}
		v.Values[name] = value
		if _, err := payment.ParseParameters(v); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s = %q: error %v does not name it", name, value, err)
		}
	}
	_, err = payment.ParseParameters(payment.Values{})
	for _, name := range []string{payment.ParamMySQL, payment.ParamCassandra, payment.ParamDC, payment.ParamEpoch, payment.ParamAcquirer, payment.ParamClusterForm} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error of no parameters %v does not name %s", err, name)
		}
	}
}

func TestNotExecutedKeepsItsCause(t *testing.T) {
	cause := errors.New("refused")
	err := payment.NotExecuted(cause)
	if !errors.Is(err, cause) || !errors.Is(err, payment.ErrNotExecuted) {
		t.Errorf("%v lost its cause or its proof", err)
	}
	if payment.NotExecuted(nil) != nil || payment.NotExecuted(err) != err {
		t.Error("nil, or a proof, is wrapped again")
	}
}
