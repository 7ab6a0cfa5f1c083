#include "host/uid_pool.hpp"

#include "exec/users.hpp"
#include "host/user_processes.hpp"

#include <utility>

namespace hf::agent {

uid_pool::uid_pool(std::unordered_set<uid_t> taken, uid_t from, uid_t to)
    : taken_(std::move(taken)), next_(from), last_(to) {}

std::optional<uid_t> uid_pool::take() {
  if (!returned_.empty()) {
    uid_t const uid = returned_.back();
    returned_.pop_back();
    used_.insert(uid);
    return uid;
  }
  while (next_ <= last_) {
    uid_t const uid = next_++;
    if (taken_.count(uid) != 0)
      continue;
    used_.insert(uid);
    return uid;
  }
  return std::nullopt;
}

void uid_pool::give_back(uid_t uid) {
  if (used_.erase(uid) != 0)
    returned_.push_back(uid);
}

std::unordered_set<uid_t> uids_of_others() {
  auto uids = uids_of_processes();
  uids.merge(uids_of_accounts());
  return uids;
}

}  // namespace hf::agent
