declare module "core-js/actual/map/group-by.js";
