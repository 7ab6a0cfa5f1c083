#include "support/fake_hub/state.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace hf::testing_support::fake {

namespace {

bool start_stream(connection& on) {
  return on.write(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
      "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
}

bool write_chunk(connection& on, std::string const& data) {
  std::ostringstream size;
  size << std::hex << data.size();
  return on.write(size.str() + "\r\n" + data + "\r\n");
}

bool write_event(connection& on, nlohmann::json const& event) {
  return write_chunk(
      on, "data: " + event.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n\n");
}

/// Whether a job's stream ends now.
bool stream_is_over(state const& hub, job const& which) {
  return (which.finished && !hub.options.endless_streams) || hub.stopping;
}

struct usage {
  double cpu_seconds = 0;
  double memory = 0;
};

usage measure(std::vector<pid_t> const& processes) {
  usage out;
  for (auto const pid : processes) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(file, text);
    auto const close = text.rfind(')');
    if (close == std::string::npos)
      continue;
    std::istringstream rest(text.substr(close + 2));
    std::vector<std::string> fields;
    for (std::string field; rest >> field;)
      fields.push_back(field);
    if (fields.size() < 22)
      continue;
    out.cpu_seconds += (std::stod(fields[11]) + std::stod(fields[12])) /
                       static_cast<double>(::sysconf(_SC_CLK_TCK));
    out.memory += std::stod(fields[21]) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  }
  return out;
}

}  // namespace

void stream_logs(state& hub, connection& on, std::shared_ptr<job> const& which,
                 std::optional<std::size_t> tail) {
  if (!start_stream(on))
    return;
  std::size_t next = 0;
  auto last = clock::now();
  for (bool first = true;; first = false) {
    std::vector<log_entry> lines;
    bool finished = false;
    {
      std::unique_lock lock(hub.mutex);
      if (!first)
        hub.changed.wait_for(lock, std::chrono::milliseconds(50), [&] {
          return which->log.size() > next || stream_is_over(hub, *which);
        });
      if (first && tail && which->log.size() > *tail)
        next = which->log.size() - *tail;
      lines.assign(which->log.begin() + static_cast<std::ptrdiff_t>(next), which->log.end());
      next = which->log.size();
      finished = stream_is_over(hub, *which);
    }
    if (first && !write_chunk(on, ": connected\n\n"))
      return;
    for (auto const& entry : lines) {
      last = clock::now();
      if (!write_event(on, {{"data", entry.line}, {"timestamp", entry.time}}))
        return;
    }
    if (finished)
      break;
    if (on.peer_gone())
      return;
    if (clock::now() - last >= hub.options.keep_alive) {
      last = clock::now();
      if (!write_chunk(on, ": keep-alive\n\n"))
        return;
    }
  }
  on.write("0\r\n\r\n");
}

void stream_metrics(state& hub, connection& on, std::shared_ptr<job> const& which) {
  if (!start_stream(on))
    return;
  usage before;
  bool known = false;
  auto at = clock::now();
  for (;;) {
    std::vector<pid_t> processes;
    {
      std::unique_lock lock(hub.mutex);
      if (hub.changed.wait_for(lock, hub.options.metrics_interval,
                               [&] { return which->finished || hub.stopping; }))
        break;
      if (which->process)
        processes = which->process->members();
    }
    if (on.peer_gone())
      return;
    auto const now = measure(processes);
    auto const seconds = std::chrono::duration<double>(clock::now() - at).count();
    at = clock::now();
    double const cores =
        known ? (std::max)(0.0, (now.cpu_seconds - before.cpu_seconds) / seconds) : 0.0;
    before = now;
    known = true;
    if (!write_event(on, {{"cpu_usage_pct", cores * 50},
                          {"cpu_millicores", static_cast<int>(cores * 1000)},
                          {"memory_used_bytes", static_cast<std::int64_t>(now.memory)},
                          {"memory_total_bytes", std::int64_t{16} << 30},
                          {"rx_bps", 0},
                          {"tx_bps", 0},
                          {"gpus", nlohmann::json::object()},
                          {"replica", which->id + "-0"}}))
      return;
  }
  on.write("0\r\n\r\n");
}

}  // namespace hf::testing_support::fake
