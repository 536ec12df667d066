/* What a program gives to the plug-ins that it loads (kernels/cuda_plugin.h): a function whose
 * declaration begins with FOR_PLUGINS is found by them in the program. All else is hidden. */
#ifndef BASE_PLUGIN_H
#define BASE_PLUGIN_H

#define FOR_PLUGINS __attribute__((visibility("default")))

#endif
