#ifndef HF_SANDBOX_HUB_JOB_STREAMS_HPP
#define HF_SANDBOX_HUB_JOB_STREAMS_HPP

#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/hub/jobs.hpp>
#include <hf/sandbox/hub/sse.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace hf::hub {

/// Lines of a log as one text.
template <class = void>
[[nodiscard]] std::string joined(std::vector<std::string> const& lines) {
  std::string out;
  for (auto const& line : lines) {
    out += line;
    if (out.empty() || out.back() != '\n')
      out += '\n';
  }
  return out;
}

namespace job_streams_detail {

using clock = std::chrono::steady_clock;

/// Why reading a stream ended: the Hub ended it, a consumer wants no more, or it was given up
/// because nothing but keep-alives came.
enum class stream_end { ended, unwanted, idle };

/// What reads a stream.
template <class Json>
struct stream_reader {
  /// Gets each event; false: no more.
  std::function<bool(Json const&)> on_event = {};
  /// Asked when bytes came that held no event; false: give up.
  std::function<bool()> on_idle = {};
  /// Whether the Hub has begun to answer.
  bool answered = false;
  /// Whether `on_event` threw: that is the caller's business, whatever it was.
  bool threw = false;
};

/// Reads one stream of events.
template <class Json>
stream_end read_events(basic_client<Json> const& hub, http::transport_ref through,
                       api_call const& call, stream_reader<Json>& reader) {
  hub.require_online(call.doing);
  auto const secret = hub.token();
  auto rq = hub.prepare(call, secret);
  rq.fields.set("Accept", "text/event-stream");
  sse_decoder decoder;
  auto how = stream_end::ended;
  auto const on_data = [&](std::span<std::byte const> data) {
    bool idle = true;
    bool const wanted = decoder.feed(http::as_text(data), [&](std::string_view text) {
      auto const event = detail::parse_json<Json>(text, 10'000);
      if (!event.is_object())
        return true;
      idle = false;
      reader.threw = true;
      bool const more = reader.on_event(event);
      reader.threw = false;
      return more;
    });
    if (!wanted)
      how = stream_end::unwanted;
    else if (idle && reader.on_idle && !reader.on_idle())
      how = stream_end::idle;
    return how == stream_end::ended ? http::flow::more : http::flow::stop;
  };
  http::response answer;
  try {
    answer = http::stream(through, rq, on_data, [&](http::response_head const& head) {
      reader.answered = head.status >= 200 && head.status < 300;
      return http::flow::more;
    });
  } catch (error const& failure) {
    if (reader.threw)
      throw;
    basic_client<Json>::rethrow(call.doing, failure, secret);
  }
  if (answer.status < 200 || answer.status >= 300)
    throw answer_error<Json>(call.doing, answer, secret);
  return how;
}

/// The text of a log event; false for noise.
template <class Json>
bool log_line(Json const& event, std::string& line) {
  line = job_detail::text(event, "data");
  return line.substr(0, 17) != "===== Job started";
}

template <class = void>
[[nodiscard]] bool broke_off(error const& failure) noexcept {
  return failure.kind() == errc::connection_lost || failure.kind() == errc::request_timed_out;
}

}  // namespace job_streams_detail

/// Patience with streams that may have no end.
struct stream_patience {
  /// Time without a line after which a log is taken for read.
  std::chrono::milliseconds quiet{5000};
  /// Time without a line after which it is looked whether the job has ended.
  std::chrono::milliseconds look{10'000};
};

/// The last lines that a job printed, at most `lines`. A running job's stream does not end: returns
/// after `patience.quiet` without a new line, and after twice that while lines keep coming; at the
/// latest at the limits' deadline.
template <class Json>
[[nodiscard]] std::vector<std::string> log_tail(basic_jobs<Json> const& api,
                                                http::transport_ref through,
                                                std::string const& name_space,
                                                std::string const& id, std::size_t lines,
                                                call_limits const& limits = {},
                                                stream_patience const& patience = {}) {
  namespace d = job_streams_detail;
  auto const quiet = patience.quiet;
  api_call call;
  call.doing = "read the log of job " + id;
  call.target = basic_jobs<Json>::job_path(name_space, id) + "/logs?tail=" + std::to_string(lines);
  call.stop = limits.stop;
  call.deadline = limits.deadline;
  call.stall_timeout = quiet;
  std::vector<typename Json::string_t> out;
  d::clock::time_point last;
  d::clock::time_point until;
  d::stream_reader<Json> reader;
  reader.on_event = [&](Json const& event) {
    last = d::clock::now();
    std::string line;
    if (d::log_line(event, line))
      out.push_back(std::move(line));
    if (out.size() > lines)
      out.erase(out.begin());
    return last < until;
  };
  reader.on_idle = [&] { return d::clock::now() - last < quiet; };
  retry_loop tries(api.hub_client().settings().retries, limits.deadline);
  for (;;) {
    try {
      out.clear();
      last = d::clock::now();
      until = last + 2 * quiet;
      d::read_events(api.hub_client(), through, call, reader);
      break;
    } catch (error const& failure) {
      if (failure.kind() == errc::request_timed_out || (!out.empty() && d::broke_off(failure)))
        break;
      if (!is_transient(failure) || !tries.wait(failure, limits.stop))
        throw;
    }
  }
  return out;
}

/// Hands on every line that a job prints, from its first, until the job has ended or `on_line`
/// returns false. A broken stream is taken up again where it was left.
template <class Json>
void follow_logs(basic_jobs<Json> const& api, http::transport_ref through,
                 std::string const& name_space, std::string const& id,
                 std::function<bool(std::string const&)> const& on_line,
                 call_limits const& limits = {}, stream_patience const& patience = {}) {
  namespace d = job_streams_detail;
  api_call call;
  call.doing = "follow the log of job " + id;
  call.target = basic_jobs<Json>::job_path(name_space, id) + "/logs";
  call.stop = limits.stop;
  call.deadline = limits.deadline;
  auto const has_ended = [&] { return api.inspect(through, name_space, id, limits).ended(); };
  std::size_t seen = 0;
  int broken = 0;
  for (;;) {
    // What was printed before the job ended is in a stream that began after its end.
    bool const ended = has_ended();
    call.stall_timeout = ended ? patience.quiet : std::chrono::milliseconds(120'000);
    std::size_t at = 0;
    bool progress = false;
    auto last = d::clock::now();
    d::stream_reader<Json> reader;
    reader.on_event = [&](Json const& event) {
      last = d::clock::now();
      if (at++ < seen)
        return true;
      seen = at;
      progress = true;
      std::string line;
      return !d::log_line(event, line) || on_line(line);
    };
    // A stream may outlive its job: keep-alives are the occasion to look.
    reader.on_idle = [&] {
      auto const now = d::clock::now();
      if (ended)
        return now - last < patience.quiet;
      if (now - last < patience.look)
        return true;
      last = now;
      return !has_ended();
    };
    std::chrono::milliseconds pause(1000);
    try {
      auto const how = d::read_events(api.hub_client(), through, call, reader);
      if (how == d::stream_end::unwanted || ended)
        return;
      if (how == d::stream_end::idle)
        continue;
    } catch (error const& failure) {
      if (reader.threw)
        throw;
      if (ended && reader.answered && failure.kind() == errc::request_timed_out)
        return;
      broken = progress ? 0 : broken + 1;
      if ((!d::broke_off(failure) && !is_transient(failure)) || broken > 5)
        throw;
      pause = pause_after(failure, std::chrono::milliseconds((std::min)(1000 << broken, 10'000)),
                          api.hub_client().settings().retries);
    }
    if (!detail::sleep_for(pause, limits.stop))
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
  constexpr std::chrono::seconds longest_silence(10);
  api_call call;
  call.doing = "read the metrics of job " + id;
  call.target = basic_jobs<Json>::job_path(name_space, id) + "/metrics";
  call.stop = limits.stop;
  call.deadline = limits.deadline;
  call.stall_timeout = longest_silence;
  int broken = 0;
  for (;;) {
    auto last = d::clock::now();
    d::stream_reader<Json> reader;
    reader.on_event = [&](Json const& event) {
      last = d::clock::now();
      broken = 0;
      return on_sample(parse_metrics(event));
    };
    reader.on_idle = [&] { return d::clock::now() - last < longest_silence; };
    std::chrono::milliseconds pause(1000);
    try {
      if (d::read_events(api.hub_client(), through, call, reader) == d::stream_end::unwanted)
        return;
    } catch (error const& failure) {
      if (reader.threw)
        throw;
      // The Hub answers 500 once the job has ended.
      bool const usual = d::broke_off(failure) || failure.http_status() == 500;
      if (!usual && (!is_transient(failure) || ++broken > 5))
        throw;
      if (limits.deadline && d::clock::now() >= *limits.deadline)
        throw;
      pause = pause_after(failure, pause, api.hub_client().settings().retries);
    }
    if (!api.inspect(through, name_space, id, limits).running())
      return;
    if (!detail::sleep_for(pause, limits.stop))
      throw error(errc::cancelled, "reading metrics was cancelled");
  }
}

}  // namespace hf::hub

#endif
