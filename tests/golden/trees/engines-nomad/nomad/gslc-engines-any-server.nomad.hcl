# Model any-server of cluster engines.
# Written by gslc: change the cluster file and build again.

job "gslc-engines-any-server" {
  type        = "service"
  datacenters = ["*"]

  meta = {
    "gslc.backend" = "custom 1.0"
    "gslc.cluster" = "engines"
    "gslc.model"   = "any-server"
  }

  group "any-server-0" {
    count = 1

    constraint {
      attribute = "${node.unique.name}"
      value     = "atlas"
    }

    constraint {
      attribute = "${attr.kernel.name}"
      value     = "linux"
    }

    constraint {
      attribute = "${attr.cpu.arch}"
      value     = "amd64"
    }

    # the plan names the node, so a failed server is tried again there and nowhere else
    restart {
      attempts = 5
      interval = "30m"
      delay    = "15s"
      mode     = "delay"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    update {
      max_parallel      = 1
      health_check      = "task_states"
      min_healthy_time  = "10s"
      healthy_deadline  = "900s"
      progress_deadline = "1200s"
    }

    ephemeral_disk {
      sticky = true
    }

    network {
      mode = "host"

      port "http" {
        static = 20000
      }
    }

    task "server" {
      driver       = "docker"
      kill_timeout = "30s"

      config {
        image        = "example.org/any:1.0"
        network_mode = "host"
        entrypoint   = ["any-server"]
        runtime      = "nvidia"
        args = [
          "--port",
          "20000",
          "--name",
          "any-server-0",
          "--devices",
          "3",
        ]

        mount {
          type     = "bind"
          source   = "/var/lib/gslc/models"
          target   = "/var/lib/gslc/models"
          readonly = true
        }
      }

      env = {
        "CUDA_DEVICE_ORDER"      = "PCI_BUS_ID"
        "CUDA_VISIBLE_DEVICES"   = "0"
        "NVIDIA_VISIBLE_DEVICES" = "GPU-33333333-3333-4333-8333-333333333333"
      }

      template {
        destination = "${NOMAD_SECRETS_DIR}/server.env"
        env         = true
        data        = "TOKEN={{ with nomadVar \"nomad/jobs/gslc-engines-any-server\" }}{{ .any.Value | toJSON }}{{ end }}\n"
      }

      resources {
        cpu        = 1000
        memory     = 1024
        memory_max = 262144

        # cards are named by variables: this node shares them, or its inventory has no UUIDs (GS656)
      }
    }
  }
}
