#ifndef HF_SANDBOX_AGENT_CONFINE_REMOVE_TREE_HPP
#define HF_SANDBOX_AGENT_CONFINE_REMOVE_TREE_HPP

#include <string>

namespace hf::agent::confine {

/// Removes a directory and all below it, whatever hostile code left there: any depth, directories
/// without permissions, links (never followed). Nothing may write there any more. Returns whether
/// nothing is left.
bool remove_tree(std::string const& path);

}  // namespace hf::agent::confine

#endif
