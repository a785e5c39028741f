# A model with several replicas survives the loss of a host: its leaders lie on at least two.
package main

import rego.v1

deny contains message if {
	some model in {instance.model | some instance in input.instances}
	hosts := {instance.shards[0].host | some instance in input.instances; instance.model == model}
	replicas := count([1 | some instance in input.instances; instance.model == model])
	replicas > 1
	count(hosts) < 2
	some only in hosts
	message := sprintf("all %d replicas of %s lie on %s; add anti_affinity: host, or placement: spread", [replicas, model, only])
}
