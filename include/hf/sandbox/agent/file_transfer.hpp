#ifndef HF_SANDBOX_AGENT_FILE_TRANSFER_HPP
#define HF_SANDBOX_AGENT_FILE_TRANSFER_HPP

#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/agent/file_calls.hpp>
#include <hf/sandbox/agent/file_ends.hpp>
#include <hf/sandbox/detail/linked_stop.hpp>
#include <hf/sandbox/detail/parallel.hpp>
#include <hf/sandbox/detail/parse_number.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/file_options.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/wire/files.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace hf::detail {

/// Streams of a transfer with an endpoint when the caller leaves the choice.
template <class = void>
[[nodiscard]] std::size_t default_streams(endpoint const& to) {
  if (!to.unix_socket.empty())
    return 1;
  return http::is_loopback_host(http::parse_url(to.url).host) ? 1 : parallel_transfer_streams;
}

/// One transfer between the agent's machine and a target or source here. It lives on the stack of a
/// blocking call; its threads, if any, end within it.
template <transport T>
class file_transfer {
 public:
  file_transfer(agent_client<T>& agent, std::string path, transfer_options const& options)
      : agent_(agent),
        path_(std::move(path)),
        options_(options),
        stop_(options.stop),
        streams_(options.streams != 0 ? options.streams : default_streams(agent.endpoint())) {}

  /// Reads the whole file. A file that changes its size, or during a parallel transfer its time of
  /// change, ends it with `errc::conflict`.
  void download(byte_target& into) {
    if (streams_ <= 1) {
      receive(into, 0, std::nullopt, notify_here());
      return;
    }
    // Small files cost one round trip: their size is known by their end.
    auto const first = receive(into, 0, options_.threshold, notify_here());
    if (first < options_.threshold)
      return;
    auto const before = stat();
    if (before.type == wire::file_type::symlink) {
      // Its size is not that of the file behind it, which only the answer to a read tells.
      receive(into, first, std::nullopt, notify_here());
      return;
    }
    total_ = before.size;
    if (before.size < first)
      throw changed();
    into.expect(before.size);
    auto const pieces = split(first, before.size);
    parallel_run parallel(stop_);
    parallel.run(
        pieces.count, streams_,
        [&](std::size_t i) {
          auto const begin = pieces.begin(i);
          receive(
              into, begin, pieces.end(i) - begin, [&] { parallel.report(); }, true);
        },
        notify_here());
    auto const after = stat();
    if (after.size != before.size || after.mtime_ms != before.mtime_ms)
      throw changed();
  }

  /// Writes the whole file.
  wire::write_result upload(byte_source& from, write_options const& how) {
    total_ = from.size();
    if (streams_ <= 1 || how.require_atomic || from.size() <= options_.threshold ||
        !sets_final_size())
      return send(from, 0, from.size(), &how, false, notify_here());
    // The end goes last and alone: only with it the file has its size and mode, whatever the order
    // of the parts before it.
    auto const last = from.size() - (std::min<std::uint64_t>)(from.size(), last_part);
    auto const pieces = split(0, last);
    parallel_run parallel(stop_);
    parallel.run(
        pieces.count, streams_,
        [&](std::size_t i) {
          write_options part;
          part.make_parents = how.make_parents;
          send(from, pieces.begin(i), pieces.end(i) - pieces.begin(i), &part, true,
               [&] { parallel.report(); });
        },
        notify_here());
    auto result = send(from, last, from.size() - last, &how, true, notify_here());
    result.size = from.size();
    result.atomic = false;
    return result;
  }

 private:
  using notify = std::function<void()>;

  static constexpr std::uint64_t last_part = 64 * 1024;

  struct division {
    std::uint64_t first;
    std::uint64_t all;
    std::uint64_t part;
    std::size_t count;
    [[nodiscard]] std::uint64_t begin(std::size_t i) const { return first + i * part; }
    [[nodiscard]] std::uint64_t end(std::size_t i) const {
      return (std::min)(first + (i + 1) * part, all);
    }
  };

  [[nodiscard]] division split(std::uint64_t from, std::uint64_t to) const {
    constexpr std::uint64_t mib = std::uint64_t{1} << 20;
    auto const part = std::clamp<std::uint64_t>((to - from) / (streams_ * 4), mib, 8 * mib);
    return {from, to, part, static_cast<std::size_t>((to - from + part - 1) / part)};
  }

  [[nodiscard]] call_options limits() const {
    return {.stall_timeout = options_.stall_timeout,
            .deadline = options_.deadline,
            .stop = stop_.token()};
  }
  [[nodiscard]] http::request request(std::string method, std::string const& target) const {
    return agent_.make_request(std::move(method), target, limits());
  }

  /// Whether the agent knows `truncate_to`, without which the end of an older, longer file would
  /// stay behind what is written in parts.
  [[nodiscard]] bool sets_final_size() const { return agent_.protocol(limits()) >= 2; }

  [[nodiscard]] error changed() const {
    return error(errc::conflict, file_call_name("read", path_) + ": the file changed meanwhile",
                 {.where = hop::agent, .may_have_reached_peer = true});
  }

  [[nodiscard]] wire::file_entry stat() const {
    auto const doing = file_call_name("stat", path_);
    auto const target = file_target_text(wire::files_stat_route).add("path", path_);
    auto const answer = agent_.call_idempotent(doing, request("GET", target.str()));
    return wire::file_entry_from_json(file_answer_json(doing, answer));
  }

  /// Progress told from the calling thread.
  [[nodiscard]] notify notify_here() {
    return [this] {
      if (options_.on_progress)
        options_.on_progress({done_.load(), total_.load()});
    };
  }

  /// Takes one answer of a read; the bytes go to the target at their place.
  class sink final : public http::response_sink {
   public:
    sink(file_transfer& owner, byte_target& into, std::uint64_t& position, notify const& moved)
        : owner_(owner), into_(into), position_(position), moved_(moved) {}

    http::flow on_head(http::response_head const& head) override {
      answer_.status = head.status;
      answer_.fields = head.fields;
      if (head.status == 200 && check_length)
        if (auto const announced = parse_number(head.fields.get("Content-Length")))
          check_length(*announced);
      return http::flow::more;
    }
    http::flow on_data(std::span<std::byte const> data) override {
      if (answer_.status != 200) {
        auto const room = std::size_t{64 * 1024} - answer_.body.size();
        answer_.body.append(reinterpret_cast<char const*>(data.data()),
                            (std::min)(room, data.size()));
        return http::flow::more;
      }
      if (data.size() > left)
        throw owner_.changed();
      left -= data.size();
      into_.write_at(position_, data);
      position_ += data.size();
      owner_.done_ += data.size();
      moved_();
      return http::flow::more;
    }
    [[nodiscard]] http::response const& answer() const { return answer_; }

    std::function<void(std::uint64_t)> check_length = {};
    /// Bytes that may still come.
    std::uint64_t left = (std::numeric_limits<std::uint64_t>::max)();

   private:
    file_transfer& owner_;
    byte_target& into_;
    std::uint64_t& position_;
    notify const& moved_;
    http::response answer_;
  };

  /// Reads from `begin` on, `length` bytes or to the end, going on where a broken connection left
  /// off for as long as it moves. Returns the bytes read; with `exact` all of them must be there.
  std::uint64_t receive(byte_target& into, std::uint64_t begin, std::optional<std::uint64_t> length,
                        notify const& moved, bool exact = false) {
    auto const doing = file_call_name("read", path_);
    std::uint64_t position = begin;
    std::optional<std::uint64_t> end;
    if (exact)
      end = begin + *length;
    auto const attempt = [&] {
      if (stop_.requested())
        throw error(errc::cancelled, doing + ": cancelled");
      file_target_text target(wire::files_read_route);
      target.add("path", path_);
      if (position != 0)
        target.add("offset", std::to_string(position));
      if (length)
        target.add("length", std::to_string(begin + *length - position));
      sink receiver(*this, into, position, moved);
      if (length)
        receiver.left = begin + *length - position;
      receiver.check_length = [&](std::uint64_t announced) {
        // Told anew by every answer: another end means another content.
        if (end && position + announced != *end)
          throw changed();
        end = position + announced;
        if (total_ == 0 && (!length || announced < *length))
          total_ = *end;
      };
      agent_.send(request("GET", target.str()), receiver);
      if (receiver.answer().status != 200)
        throw agent_.answer_error(doing, receiver.answer());
    };
    for (;;) {
      auto const before = position;
      try {
        if (end && position == *end)
          break;
        agent_.retrying(request("GET", std::string(wire::files_read_route)), true, attempt);
        break;
      } catch (error const& e) {
        bool const broke = e.kind() == errc::connection_lost || e.kind() == errc::request_timed_out;
        if (!broke || position == before || deadline_passed())
          throw;
      }
    }
    if (end && position != *end)
      throw changed();
    return position - begin;
  }

  [[nodiscard]] bool deadline_passed() const {
    return options_.deadline && std::chrono::steady_clock::now() >= *options_.deadline;
  }

  /// Writes a part, or all (`ranged` false).
  wire::write_result send(byte_source& from, std::uint64_t begin, std::uint64_t size,
                          write_options const* how, bool ranged, notify const& moved) {
    auto const doing = file_call_name("write", path_);
    file_target_text target(wire::files_write_route);
    target.add("path", path_);
    if (ranged)
      target.add("offset", std::to_string(begin));
    if (ranged && begin + size == from.size())
      target.add("truncate_to", std::to_string(from.size()));
    if (how->mode)
      target.add("mode", wire::detail::octal(static_cast<std::uint32_t>(*how->mode)));
    if (!how->make_parents)
      target.add("mkdir", "false");
    if (how->require_atomic)
      target.add("atomic", "require");
    target.add("op", new_operation());
    auto rq = request("PUT", target.str());
    rq.fields.set("Content-Type", "application/octet-stream");
    rq.body = std::make_shared<range_body>(from, begin, size, [this, &moved](std::uint64_t more) {
      done_ += more;
      moved();
    });
    // The same bytes at the same place: a repetition does no harm, whoever answers.
    auto const answer = call_operation(agent_, doing, std::move(rq), true);
    auto result = wire::write_result_from_json(file_answer_json(doing, answer));
    // Other agents than ours write in place and do not say so.
    if (!answer.fields.contains(wire::instance_header))
      result.atomic = false;
    if (result.size != size)
      throw error(errc::protocol_error, doing + ": the agent did not take all bytes",
                  {.where = hop::agent, .may_have_reached_peer = true});
    return result;
  }

  agent_client<T>& agent_;
  std::string path_;
  transfer_options const& options_;
  linked_stop stop_;
  std::size_t streams_;
  std::atomic<std::uint64_t> done_{0};
  std::atomic<std::uint64_t> total_{0};
};

}  // namespace hf::detail

#endif
