#ifndef HF_SANDBOX_AGENT_DETAIL_OP_REGISTRY_HPP
#define HF_SANDBOX_AGENT_DETAIL_OP_REGISTRY_HPP

#include "detail/sha256.hpp"

#include <hf/sandbox/wire/json.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

namespace hf::agent {

/// What has become of the operations that callers named by an id of their own choice: so that one
/// that is sent twice takes effect once. Of a request only a digest is remembered.
///
/// `begin`, then `complete` with the answer (or `abandon` when nothing took effect). The answer is
/// replayed until `forget`, or until it is older than the results' lifetime; the digest stays for a
/// day, so that a late repetition is refused rather than run. Used on the event loop's thread only.
class op_registry {
 public:
  using clock = std::chrono::steady_clock;

  struct limits {
    std::chrono::seconds results{600};
    std::size_t max_results = 100'000;
    std::chrono::seconds digests{24 * 3600};
    std::size_t max_digests = 1'000'000;
  };

  enum class verdict {
    /// Never seen: go on.
    fresh,
    /// The same request is being worked on right now.
    busy,
    /// It was completed: send `status` and `body` again.
    replay,
    /// The id was used for another request.
    conflict,
    /// It was completed, and its answer is no longer kept: it must not run again.
    gone,
    /// No room to remember another operation.
    full,
  };

  struct answer {
    verdict what = verdict::fresh;
    int status = 0;
    wire::json body = nullptr;
  };

  op_registry() = default;
  explicit op_registry(limits bounds) : limits_(bounds) {}

  /// Asks whether this operation may run; `fresh` also marks it as being worked on. `now` is for
  /// tests.
  answer begin(std::string const& op, sha256_digest const& digest,
               clock::time_point now = clock::now());
  /// It took effect; this is its answer.
  void complete(std::string const& op, int status, wire::json body,
                clock::time_point now = clock::now());
  /// It had no effect: it may be tried again.
  void abandon(std::string const& op);
  /// Drops the answer of a completed operation, keeps its digest.
  void forget(std::string const& op, clock::time_point now = clock::now());
  /// What `begin` would say to the same request, without beginning it.
  [[nodiscard]] verdict look(std::string const& op, clock::time_point now = clock::now());

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  enum class state : unsigned char { working, done, forgotten };
  struct reply {
    int status = 0;
    wire::json body = nullptr;
  };
  struct entry {
    sha256_digest digest{};
    state now = state::working;
    std::unique_ptr<reply> kept = {};
  };
  using mark = std::pair<clock::time_point, std::string>;

  void expire(clock::time_point now);

  limits limits_{};
  std::unordered_map<std::string, entry> entries_;
  /// In order of time; one that names an operation in another state has been overtaken.
  std::deque<mark> done_;
  std::deque<mark> forgotten_;
};

}  // namespace hf::agent

#endif
