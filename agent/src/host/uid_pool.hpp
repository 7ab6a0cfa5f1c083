#ifndef HF_SANDBOX_AGENT_HOST_UID_POOL_HPP
#define HF_SANDBOX_AGENT_HOST_UID_POOL_HPP

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <unordered_set>
#include <vector>

namespace hf::agent {

/// The user ids of sandboxes. One is handed out again only after it was given back, which is done
/// once nothing of the sandbox that had it is left; one that is not given back stays unused for as
/// long as the agent runs.
class uid_pool {
 public:
  /// Ids of the common protocol.
  static constexpr uid_t first = 20'000;
  static constexpr uid_t last = 64'999;

  /// `taken` belong to accounts or running processes and are never handed out.
  explicit uid_pool(std::unordered_set<uid_t> taken, uid_t from = first, uid_t to = last);

  /// The id given back last, else the lowest that was never used; nothing when all are used.
  [[nodiscard]] std::optional<uid_t> take();
  void give_back(uid_t uid);
  /// Whether the id was handed out and has not come back.
  [[nodiscard]] bool in_use(uid_t uid) const { return used_.count(uid) != 0; }

 private:
  std::unordered_set<uid_t> taken_;
  std::unordered_set<uid_t> used_;
  std::vector<uid_t> returned_;
  uid_t next_;
  uid_t last_;
};

/// The ids of the accounts in /etc/passwd and of the processes that run.
[[nodiscard]] std::unordered_set<uid_t> uids_of_others();

}  // namespace hf::agent

#endif
