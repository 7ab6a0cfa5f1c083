#ifndef HF_SANDBOX_AGENT_CONFINE_CHILDREN_HPP
#define HF_SANDBOX_AGENT_CONFINE_CHILDREN_HPP

namespace hf::agent::confine {

/// Kills every child of this process and, as they come up to this subreaper one generation after
/// the other, every descendant; returns when none is left.
void kill_all_descendants();

}  // namespace hf::agent::confine

#endif
