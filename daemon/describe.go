package daemon

import (
	"fmt"
	"strings"

	"github.com/backstay/backstay/plan"
)

// details are the facts of an act's intent that a reader of the journal needs.
func details(row plan.Row, effect plan.Effect) map[string]string {
	facts := map[string]string{}
	add := func(name, value string) {
		if value != "" {
			facts[name] = value
		}
	}
	switch {
	case row.Certificate != nil:
		certificateDetails(row.Certificate, effect, add)
	case row.Deployment != nil:
		deployment := row.Deployment
		add("certificate", deployment.Name)
		add("target", deployment.Target)
		add("generation", fmt.Sprint(effect.Generation))
		if deployment.Rolling {
			add("why", "rolling back: "+deployment.Because)
		}
	case row.Challenge != nil:
		add("certificate", row.Challenge.Name)
		add("solver", row.Challenge.Solver)
		add("name", row.Challenge.Identifier)
		add("token", row.Challenge.Token)
	}
	return facts
}

func certificateDetails(row *plan.Certificate, effect plan.Effect, add func(name, value string)) {
	attempt := row.Attempt
	if attempt == nil {
		add("generation", fmt.Sprint(effect.Generation))
		return
	}
	add("authority", attempt.Authority)
	add("generation", fmt.Sprint(attempt.Generation))
	switch effect.Kind {
	case plan.MakeKey:
		add("key", attempt.Key)
	case plan.NewOrder:
		add("why", attempt.Reason)
		add("authority_because", attempt.Because)
		add("names", strings.Join(attempt.Domains, " "))
		add("replaces", attempt.Replaces)
		add("profile", attempt.Profile)
	case plan.SetChallenge, plan.OfferChallenge:
		authorization := attempt.Authorizations[effect.Index]
		add("name", authorization.Identifier)
		add("type", authorization.Type)
		add("solver", authorization.Solver)
		add("token", authorization.Token)
		add("order", attempt.Order.URL)
	case plan.Finalize, plan.Collect, plan.Abandon:
		add("order", attempt.Order.URL)
	}
}

// progressOf words a step for somebody who watches.
func progressOf(row plan.Row, effect plan.Effect, event plan.Event) Progress {
	progress := Progress{Subject: row.Subject(), Step: string(effect.Kind)}
	switch {
	case row.Deployment != nil:
		progress.Detail = row.Deployment.Target
	case row.Certificate != nil && row.Certificate.Attempt != nil:
		progress.Detail = row.Certificate.Attempt.Authority
	}
	if event.Trouble != nil {
		progress.Failed, progress.Detail = true, event.Trouble.Summary
	}
	return progress
}
