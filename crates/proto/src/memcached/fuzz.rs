//! Bodies of the fuzz targets: what must hold for any bytes whatever. They live here so that they
//! also run on the seeds in `testdata` with every test run. They panic when a property fails.
