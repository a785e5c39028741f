# Every GPU that is used keeps some of its memory free, for what nobody planned: a desktop, a debugger, a driver update.
package main

import rego.v1

# Thousandths of a card's memory that stay free.
headroom := 30

# What each process takes on each of its cards. An index that has no name yet runs over the whole list.
takes contains {"process": shard.name, "host": shard.host, "gpu": shard.gpus[place], "bytes": shard.memory.gpus[place].total} if {
	some instance in input.instances
	some shard in instance.shards
	some place
	shard.gpus[place]
}

deny contains message if {
	some host in input.hosts
	some index
	gpu := host.gpus[index]
	used := sum([take.bytes | some take in takes; take.host == host.name; take.gpu == index])
	used > 0
	used * 1000 > gpu.memory * (1000 - headroom)
	message := sprintf("GPU %d of %s (%s) has %d MiB planned of %d: less than %d/1000 stay free", [index, host.name, gpu.model, mib(used), mib(gpu.memory), headroom])
}

mib(bytes) := round(bytes / 1048576)
