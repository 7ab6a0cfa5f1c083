#ifndef HF_SANDBOX_TESTING_RECORDING_TRANSPORT_HPP
#define HF_SANDBOX_TESTING_RECORDING_TRANSPORT_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/sinks.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/transport_traits.hpp>
#include <hf/sandbox/testing/tape.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

namespace hf::testing {

/// Decorates a transport: everything passes, and a file keeps it for `replay_transport`.
///
/// The file has one JSON object a line, written as things happen: `request`, `head`, `data`, then
/// `end`, `stop` or `error`, each with its exchange's number. Values of fields that carry secrets
/// (Authorization, cookies, the agent's token) are replaced by "[redacted]"; bodies are kept as
/// they are: look at a tape before publishing it. Copies share one file. Safe to use from several
/// threads.
template <transport Inner>
class recording_transport {
 public:
  /// Those of the transport inside.
  static constexpr transport_traits traits = traits_of<Inner>();

  /// Writes a new tape; throws `errc::io_error` when the file cannot be written.
  explicit recording_transport(std::filesystem::path const& file, Inner inner = Inner())
      : state_(std::make_shared<state>(file, std::move(inner))) {}

  /// The transport inside.
  [[nodiscard]] Inner& inner() noexcept { return state_->inner; }

  /// Performs one request through the inner transport.
  void send(http::request const& rq, http::response_sink& sink) {
    auto const number = state_->begin(rq);
    copying_sink copy(*state_, number, sink);
    try {
      state_->inner.send(rq, copy);
    } catch (error const& e) {
      state_->write(number, {{"error", std::string(to_string(e.kind()))},
                             {"message", e.what()},
                             {"reached", e.may_have_reached_peer()}});
      throw;
    }
    state_->write(number, {{copy.stopped ? "stop" : "end", true}});
  }

 private:
  struct state {
    state(std::filesystem::path const& file, Inner i)
        : inner(std::move(i)), out(file, std::ios::binary | std::ios::trunc) {
      if (!out)
        throw error(errc::io_error, "the tape " + file.string() + " cannot be written");
    }

    std::uint64_t begin(http::request const& rq) {
      std::uint64_t number = 0;
      {
        std::lock_guard const lock(mutex);
        number = ++exchanges;
      }
      write(number, {{"request", rq.method},
                     {"url", rq.url},
                     {"fields", tape::from_headers(rq.fields)},
                     {"body_size", rq.body.size()}});
      return number;
    }

    void write(std::uint64_t number, tape::json line) {
      line["exchange"] = number;
      auto const text = line.dump(-1, ' ', false, tape::json::error_handler_t::replace);
      std::lock_guard const lock(mutex);
      out << text << '\n' << std::flush;
    }

    Inner inner;
    std::mutex mutex = {};
    std::ofstream out;
    std::uint64_t exchanges = 0;
  };

  struct copying_sink : http::response_sink {
    copying_sink(state& s, std::uint64_t n, http::response_sink& o)
        : shared(s), number(n), outer(o) {}
    http::flow on_head(http::response_head const& head) override {
      shared.write(number, {{"head", head.status}, {"fields", tape::from_headers(head.fields)}});
      return note(outer.on_head(head));
    }
    http::flow on_data(std::span<std::byte const> data) override {
      tape::json line;
      tape::put_bytes(line, std::string(http::as_text(data)));
      shared.write(number, std::move(line));
      return note(outer.on_data(data));
    }
    http::flow note(http::flow f) {
      stopped = stopped || f == http::flow::stop;
      return f;
    }
    state& shared;
    std::uint64_t number;
    http::response_sink& outer;
    bool stopped = false;
  };

  std::shared_ptr<state> state_;
};

}  // namespace hf::testing

#endif
