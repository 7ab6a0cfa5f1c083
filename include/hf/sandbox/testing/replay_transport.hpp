#ifndef HF_SANDBOX_TESTING_REPLAY_TRANSPORT_HPP
#define HF_SANDBOX_TESTING_REPLAY_TRANSPORT_HPP

#include <hf/sandbox/detail/validate_request.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/transport_traits.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/testing/tape.hpp>
#include <hf/sandbox/testing/wait.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace hf::testing {

/// A transport without a network: answers from a tape that `recording_transport` made.
///
/// A request gets the first answer, not played yet, to a request of the same method, path and
/// query - else of the same method and path. Host and port do not count, because they change from
/// run to run. When there is none, the request throws `errc::not_found`. Recorded failures are
/// thrown again. Copies share one tape. Safe to use from several threads.
class replay_transport {
 public:
  /// What it can do.
  static constexpr transport_traits traits{.name = "replay"};

  /// Reads a tape; throws `errc::not_found` without one, `errc::invalid_argument` for a malformed
  /// one.
  explicit replay_transport(std::filesystem::path const& file) : state_(std::make_shared<state>()) {
    std::ifstream in(file, std::ios::binary);
    if (!in)
      throw error(errc::not_found, "there is no tape " + file.string());
    std::map<std::uint64_t, std::size_t> places;
    try {
      for (std::string line; std::getline(in, line);)
        add(tape::json::parse(line), places);
    } catch (tape::json::exception const& e) {
      throw error(errc::invalid_argument,
                  "the tape " + file.string() + " is malformed: " + e.what());
    }
  }

  /// Exchanges that were not played yet.
  [[nodiscard]] std::size_t left() const {
    std::lock_guard const lock(state_->mutex);
    std::size_t n = 0;
    for (auto const& e : state_->exchanges)
      n += e.played ? 0u : 1u;
    return n;
  }

  /// Performs one request from the tape.
  void send(http::request const& rq, http::response_sink& sink) {
    auto const target = hf::detail::validate_request(rq);
    hf::detail::check_not_over(rq);
    auto const& found = choose(rq.method, target.target);
    if (found.has_head) {
      if (sink.on_head(found.head) == http::flow::stop)
        return;
      for (auto const& piece : found.pieces)
        if (sink.on_data(std::as_bytes(std::span(piece.data(), piece.size()))) == http::flow::stop)
          return;
    }
    if (found.failed) {
      error_details details;
      details.may_have_reached_peer = found.reached;
      throw error(found.code, found.message, std::move(details));
    }
  }

 private:
  struct exchange {
    std::string method = {};
    std::string target = {};
    http::response_head head = {};
    std::vector<std::string> pieces = {};
    std::string message = {};
    errc code = errc::internal;
    bool has_head = false;
    bool failed = false;
    bool reached = false;
    bool played = false;
  };
  struct state {
    std::mutex mutex = {};
    std::vector<exchange> exchanges = {};
  };

  void add(tape::json const& line, std::map<std::uint64_t, std::size_t>& places) {
    auto const number = line.at("exchange").get<std::uint64_t>();
    if (line.contains("request")) {
      places[number] = state_->exchanges.size();
      exchange fresh;
      fresh.method = line.at("request").get<std::string>();
      fresh.target = http::parse_url(line.at("url").get<std::string>()).target;
      state_->exchanges.push_back(std::move(fresh));
      return;
    }
    auto const place = places.find(number);
    if (place == places.end())
      throw error(errc::invalid_argument, "the tape answers a request that it does not hold");
    auto& e = state_->exchanges[place->second];
    if (line.contains("head")) {
      e.head = {line.at("head").get<int>(), tape::to_headers(line.at("fields"))};
      e.has_head = true;
    } else if (line.contains("error")) {
      e.failed = true;
      e.code = errc_from_string(line.at("error").get<std::string>());
      e.message = line.at("message").get<std::string>();
      e.reached = line.at("reached").get<bool>();
    } else if (line.contains("data") || line.contains("b64")) {
      e.pieces.push_back(tape::get_bytes(line));
    }
  }

  exchange const& choose(std::string const& method, std::string const& target) {
    auto const path = [](std::string const& t) { return t.substr(0, t.find('?')); };
    std::lock_guard const lock(state_->mutex);
    for (bool const exact : {true, false})
      for (auto& e : state_->exchanges)
        if (!e.played && e.method == method &&
            (exact ? e.target == target : path(e.target) == path(target))) {
          e.played = true;
          return e;
        }
    throw error(errc::not_found, "the tape has no answer (left) to " + method + " " + target);
  }

  std::shared_ptr<state> state_;
};

static_assert(transport<replay_transport>);

}  // namespace hf::testing

#endif
