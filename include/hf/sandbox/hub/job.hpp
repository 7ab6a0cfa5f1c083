#ifndef HF_SANDBOX_HUB_JOB_HPP
#define HF_SANDBOX_HUB_JOB_HPP

#include <hf/sandbox/error.hpp>

#include <nlohmann/json.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hf::hub {

/// Who owns or started a job.
struct job_party {
  /// The account's id.
  std::string id = {};
  /// Its name.
  std::string name = {};
  /// "user" or "org".
  std::string type = {};
};

/// A job as the Hub shows it (JobInfo); absent texts are empty.
struct job_info {
  /// The job's id.
  std::string id = {};
  /// When it was asked for, in ISO 8601, as the two below.
  std::string created_at = {};
  /// When it began to run.
  std::string started_at = {};
  /// When it ended.
  std::string finished_at = {};
  /// Its container image; empty: it runs a Space.
  std::string docker_image = {};
  /// The Space that it runs; empty: it runs an image.
  std::string space_id = {};
  /// The program and its first arguments.
  std::vector<std::string> command = {};
  /// Further arguments.
  std::vector<std::string> arguments = {};
  /// Environment variables, without the secrets.
  std::map<std::string, std::string> environment = {};
  /// The hardware's name.
  std::string flavor = {};
  /// Labels to find the job by.
  std::map<std::string, std::string> labels = {};
  /// `SCHEDULING`, `RUNNING`, `UPDATING`, `COMPLETED`, `CANCELED`, `ERROR` or `DELETED`.
  std::string stage = {};
  /// Why it is in that stage.
  std::string message = {};
  /// Where the Jobs proxy serves the exposed ports.
  std::vector<std::string> expose_urls = {};
  /// Who pays for it.
  job_party owner = {};
  /// Who started it.
  job_party initiator = {};

  /// Whether it will not run (any more).
  [[nodiscard]] bool ended() const noexcept {
    return stage == "COMPLETED" || stage == "CANCELED" || stage == "ERROR" || stage == "DELETED";
  }
  /// Whether its command has been started and has not ended.
  [[nodiscard]] bool running() const noexcept { return stage == "RUNNING" || stage == "UPDATING"; }
  /// The label's value; empty when it is not there.
  [[nodiscard]] std::string label(std::string const& name) const {
    auto const it = labels.find(name);
    return it == labels.end() ? std::string() : it->second;
  }
};

namespace job_detail {

template <class Json>
[[nodiscard]] Json const& member(Json const& from, char const* name) {
  static Json const null;
  if (!from.is_object())
    return null;
  auto const it = from.find(name);
  return it == from.end() ? null : *it;
}

template <class Json>
[[nodiscard]] std::string text(Json const& from, char const* name) {
  auto const& value = member(from, name);
  return value.is_string() ? value.template get<std::string>() : std::string();
}

template <class Json>
[[nodiscard]] std::vector<std::string> texts(Json const& from, char const* name) {
  std::vector<std::string> out;
  for (auto const& item : member(from, name))
    if (item.is_string())
      out.push_back(item.template get<std::string>());
  return out;
}

template <class Json>
[[nodiscard]] std::map<std::string, std::string> text_map(Json const& from, char const* name) {
  std::map<std::string, std::string> out;
  if (auto const& object = member(from, name); object.is_object())
    for (auto const& [key, value] : object.items())
      if (value.is_string())
        out[key] = value.template get<std::string>();
  return out;
}

template <class Json>
[[nodiscard]] job_party party(Json const& from, char const* name) {
  auto const& value = member(from, name);
  return {text(value, "id"), text(value, "name"), text(value, "type")};
}

}  // namespace job_detail

/// Reads a JobInfo; unknown members are ignored. `errc::protocol_error` without an id or a stage.
template <class Json>
[[nodiscard]] job_info parse_job(Json const& from) {
  namespace d = job_detail;
  auto const& status = d::member(from, "status");
  job_info job;
  job.id = d::text(from, "id");
  job.created_at = d::text(from, "createdAt");
  job.started_at = d::text(from, "startedAt");
  job.finished_at = d::text(from, "finishedAt");
  job.docker_image = d::text(from, "dockerImage");
  job.space_id = d::text(from, "spaceId");
  job.command = d::texts(from, "command");
  job.arguments = d::texts(from, "arguments");
  job.environment = d::text_map(from, "environment");
  job.flavor = d::text(from, "flavor");
  job.labels = d::text_map(from, "labels");
  job.stage = d::text(status, "stage");
  job.message = d::text(status, "message");
  job.expose_urls = d::texts(status, "exposeUrls");
  job.owner = d::party(from, "owner");
  job.initiator = d::party(from, "initiator");
  if (job.id.empty() || job.stage.empty())
    throw error(errc::protocol_error,
                "the Hugging Face Hub answered with a job that has no id or no stage",
                {.where = hop::hub, .may_have_reached_peer = true});
  return job;
}

/// One second of a job's resource use.
struct job_metrics {
  /// One accelerator.
  struct gpu {
    /// The device's id.
    std::string id = {};
    /// Share of the time that it was busy, in percent.
    double utilization = 0;
    /// Its memory in use.
    double memory_used_bytes = 0;
    /// All of its memory.
    double memory_total_bytes = 0;
  };
  /// CPU use in percent, as the Hub counts it.
  double cpu_usage_pct = 0;
  /// CPU that the job may use, in thousandths of a core.
  double cpu_millicores = 0;
  /// Memory in use.
  double memory_used_bytes = 0;
  /// Memory that the job may use.
  double memory_total_bytes = 0;
  /// Network traffic per second that came in, in the Hub's unit.
  double rx_bps = 0;
  /// The same that went out.
  double tx_bps = 0;
  /// The job's accelerators.
  std::vector<gpu> gpus = {};
  /// Which of a job's machines it is about.
  std::string replica = {};
};

/// Reads an event of a job's metrics; members of unexpected types count as absent.
template <class Json>
[[nodiscard]] job_metrics parse_metrics(Json const& from) {
  namespace d = job_detail;
  auto const number = [](Json const& in, char const* name) {
    auto const& value = d::member(in, name);
    return value.is_number() ? value.template get<double>() : 0.0;
  };
  job_metrics out;
  out.cpu_usage_pct = number(from, "cpu_usage_pct");
  out.cpu_millicores = number(from, "cpu_millicores");
  out.memory_used_bytes = number(from, "memory_used_bytes");
  out.memory_total_bytes = number(from, "memory_total_bytes");
  out.rx_bps = number(from, "rx_bps");
  out.tx_bps = number(from, "tx_bps");
  out.replica = d::text(from, "replica");
  if (auto const& gpus = d::member(from, "gpus"); gpus.is_object())
    for (auto const& [id, gpu] : gpus.items())
      out.gpus.push_back({id, number(gpu, "utilization"), number(gpu, "memory_used_bytes"),
                          number(gpu, "memory_total_bytes")});
  return out;
}

/// An entry of the list of hardware that jobs can have.
struct hardware {
  /// What goes into `launch_options::flavor`.
  std::string name = {};
  /// The same for people.
  std::string pretty_name = {};
  /// Number of CPUs, as a text for people.
  std::string cpu = {};
  /// Memory, as a text for people.
  std::string ram = {};
  /// The accelerator's model; empty: none.
  std::string accelerator = {};
  /// Price of one unit in US dollars.
  double unit_cost_usd = 0;
  /// What the cost is for, for instance "minute".
  std::string unit_label = {};
};

/// Reads an entry of `GET /api/jobs/hardware`.
template <class Json>
[[nodiscard]] hardware parse_hardware(Json const& from) {
  namespace d = job_detail;
  hardware out;
  out.name = d::text(from, "name");
  out.pretty_name = d::text(from, "prettyName");
  out.cpu = d::text(from, "cpu");
  out.ram = d::text(from, "ram");
  auto const& accelerator = d::member(from, "accelerator");
  out.accelerator = accelerator.is_string() ? accelerator.template get<std::string>()
                                            : d::text(accelerator, "model");
  auto const& cost = d::member(from, "unitCostUSD");
  out.unit_cost_usd = cost.is_number() ? cost.template get<double>() : 0.0;
  out.unit_label = d::text(from, "unitLabel");
  return out;
}

}  // namespace hf::hub

#endif
