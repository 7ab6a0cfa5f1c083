#ifndef HF_SANDBOX_HUB_JOB_STREAMS_HPP
#define HF_SANDBOX_HUB_JOB_STREAMS_HPP

#include <hf/sandbox/hub/jobs.hpp>
#include <hf/sandbox/hub/sse.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace hf::hub {

/// Lines of a log as one text.
[[nodiscard]] inline std::string joined(std::vector<std::string> const& lines) {
  std::string out;
  for (auto const& line : lines) {
    out += line;
    if (out.empty() || out.back() != '\n')
      out += '\n';
  }
  return out;
}

namespace job_streams_detail {

/// Reads one stream of events until it ends or `on_event` returns false; false in the latter case.
template <class Json>
bool read_events(basic_client<Json> const& hub, http::transport_ref through, api_call const& call,
                 std::type_identity_t<std::function<bool(Json const&)>> const& on_event) {
  auto const secret = hub.token();
  auto rq = hub.prepare(call, secret);
  rq.fields.set("Accept", "text/event-stream");
  sse_decoder decoder;
  bool wanted = true;
  auto const answer = http::stream(through, rq, [&](std::span<std::byte const> data) {
    wanted = decoder.feed(http::as_text(data), [&](std::string_view text) {
      auto const event = Json::parse(text, nullptr, false);
      return !event.is_object() || on_event(event);
    });
    return wanted ? http::flow::more : http::flow::stop;
  });
  if (answer.status < 200 || answer.status >= 300)
    throw answer_error<Json>(call.doing, answer, secret);
  return wanted;
}

/// The text of a log event; false for noise.
template <class Json>
bool log_line(Json const& event, std::string& line) {
  line = job_detail::text(event, "data");
  return line.substr(0, 17) != "===== Job started";
}

[[nodiscard]] inline bool broke_off(error const& failure) noexcept {
  return failure.kind() == errc::connection_lost || failure.kind() == errc::request_timed_out;
}

}  // namespace job_streams_detail

/// The last lines that a job printed, at most `lines`. Returns after `quiet` without a new line (a
/// running job's stream does not end), at the latest at the limits' deadline.
template <class Json>
[[nodiscard]] std::vector<std::string> log_tail(
    basic_jobs<Json> const& api, http::transport_ref through, std::string const& name_space,
    std::string const& id, std::size_t lines, call_limits const& limits = {},
    std::chrono::milliseconds quiet = std::chrono::milliseconds(5000)) {
  namespace d = job_streams_detail;
  api_call call;
  call.doing = "read the log of job " + id;
  call.target = basic_jobs<Json>::job_path(name_space, id) + "/logs?tail=" + std::to_string(lines);
  call.stop = limits.stop;
  call.deadline = limits.deadline;
  call.stall_timeout = quiet;
  std::vector<std::string> out;
  bool connected = false;
  retry_loop tries(api.hub_client().settings().retries, limits.deadline);
  for (;;) {
    try {
      out.clear();
      d::read_events(api.hub_client(), through, call, [&](Json const& event) {
        connected = true;
        std::string line;
        if (d::log_line(event, line))
          out.push_back(std::move(line));
        return true;
      });
      break;
    } catch (error const& failure) {
      if (failure.kind() == errc::request_timed_out || (connected && d::broke_off(failure)))
        break;
      if (!is_transient(failure) || !tries.wait(failure, limits.stop))
        throw;
    }
  }
  if (out.size() > lines)
    out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(lines));
  return out;
}

/// Hands on every line that a job prints, from its first, until the job has ended or `on_line`
/// returns false. A broken stream is taken up again where it was left.
template <class Json>
void follow_logs(basic_jobs<Json> const& api, http::transport_ref through,
                 std::string const& name_space, std::string const& id,
                 std::function<bool(std::string const&)> const& on_line,
                 call_limits const& limits = {}) {
  namespace d = job_streams_detail;
  api_call call;
  call.doing = "follow the log of job " + id;
  call.target = basic_jobs<Json>::job_path(name_space, id) + "/logs";
  call.stop = limits.stop;
  call.deadline = limits.deadline;
  call.stall_timeout = std::chrono::seconds(120);
  std::size_t seen = 0;
  int broken = 0;
  for (;;) {
    bool const ended = api.inspect(through, name_space, id, limits).ended();
    std::size_t at = 0;
    bool progress = false;
    try {
      bool const wanted = d::read_events(api.hub_client(), through, call, [&](Json const& event) {
        if (at++ < seen)
          return true;
        seen = at;
        progress = true;
        std::string line;
        return !d::log_line(event, line) || on_line(line);
      });
      // What was printed before the job ended is in a stream that began after its end.
      if (!wanted || ended)
        return;
    } catch (error const& failure) {
      broken = progress ? 0 : broken + 1;
      if ((!d::broke_off(failure) && !is_transient(failure)) || broken > 5)
        throw;
    }
    if (!detail::sleep_for(std::chrono::milliseconds((std::min)(1000 << broken, 10'000)),
                           limits.stop))
      throw error(errc::cancelled, "following a log was cancelled");
  }
}

/// Hands on a job's resource use, about once a second, until the job has ended or `on_sample`
/// returns false. No sample at all is normal for a job that has ended.
template <class Json>
void follow_metrics(basic_jobs<Json> const& api, http::transport_ref through,
                    std::string const& name_space, std::string const& id,
                    std::function<bool(job_metrics const&)> const& on_sample,
                    call_limits const& limits = {}) {
  namespace d = job_streams_detail;
  api_call call;
  call.doing = "read the metrics of job " + id;
  call.target = basic_jobs<Json>::job_path(name_space, id) + "/metrics";
  call.stop = limits.stop;
  call.deadline = limits.deadline;
  call.stall_timeout = std::chrono::seconds(10);
  for (;;) {
    try {
      if (!d::read_events(api.hub_client(), through, call,
                          [&](Json const& event) { return on_sample(parse_metrics(event)); }))
        return;
    } catch (error const& failure) {
      // The Hub answers 500 once the job has ended.
      if (!d::broke_off(failure) && failure.http_status() != 500)
        throw;
      if (limits.deadline && std::chrono::steady_clock::now() >= *limits.deadline)
        throw;
    }
    if (!api.inspect(through, name_space, id, limits).running())
      return;
    if (!detail::sleep_for(std::chrono::seconds(1), limits.stop))
      throw error(errc::cancelled, "reading metrics was cancelled");
  }
}

}  // namespace hf::hub

#endif
