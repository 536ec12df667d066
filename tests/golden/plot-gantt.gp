set terminal svg noenhanced size 980,260 font 'Helvetica,12' background '#ffffff'
set encoding utf8
set output 'x.svg'
set border 3 lc rgb '#666666'
set tics nomirror out scale 0.5 textcolor rgb '#222222'
set grid ytics lc rgb '#dddddd' lt 1
set key off
set style fill solid 1
set tmargin 4
set label 1 "small_it\047s \042odd\042^2: ahd" at graph 0, graph 1 left offset 0,2.2 font ',15' tc rgb '#111111'
set label 2 'simulated, from 3.694 ms on; numbers are blocks' at graph 0, graph 1 left offset 0,0.9 tc rgb '#666666'
set ytics ('device 0' 4.5, 'copy out' 3.5, 'loader' 2.5, 'device 1' 1.5, 'copy in' 0.5) scale 0
set grid noytics xtics lc rgb '#dddddd' lt 1
set border 1
set xrange [0:2.115]
set yrange [0:5]
set xlabel 'ms'
set label '0' at 0.0957,4.5 center font ',9' tc rgb '#202020' front
set label '0' at 0.3914,4.5 center font ',9' tc rgb '#fdfdfd' front
set label '1' at 0.035,1.5 center font ',9' tc rgb '#fdfdfd' front
set label '1' at 0.145,1.5 center font ',9' tc rgb '#202020' front
set label '1' at 0.37,1.5 center font ',9' tc rgb '#fdfdfd' front
set label '0' at 0.6264,2.5 center font ',9' tc rgb '#202020' front
set label '0' at 0.6464,4.5 center font ',9' tc rgb '#fdfdfd' front
set label '0' at 0.7964,4.5 center font ',9' tc rgb '#202020' front
set label '0' at 1.0964,4.5 center font ',9' tc rgb '#fdfdfd' front
set label '1' at 0.74,1.5 center font ',9' tc rgb '#fdfdfd' front
set label '1' at 0.85,1.5 center font ',9' tc rgb '#202020' front
set label '1' at 1.075,1.5 center font ',9' tc rgb '#fdfdfd' front
set label '0' at 1.3314,2.5 center font ',9' tc rgb '#202020' front
set label '0' at 1.3514,4.5 center font ',9' tc rgb '#fdfdfd' front
set label '0' at 1.5014,4.5 center font ',9' tc rgb '#202020' front
set label '0' at 1.8014,4.5 center font ',9' tc rgb '#fdfdfd' front
set label '1' at 1.445,1.5 center font ',9' tc rgb '#fdfdfd' front
set label '1' at 1.555,1.5 center font ',9' tc rgb '#202020' front
set label '1' at 1.78,1.5 center font ',9' tc rgb '#fdfdfd' front
set label '0' at 2.0364,2.5 center font ',9' tc rgb '#202020' front
set label '0' at 2.0564,4.5 center font ',9' tc rgb '#fdfdfd' front
set key outside right top vertical Left reverse samplen 1 spacing 1.2
$thin << END
0.5939 4.5 0.5914 0.5964 4.08 4.92 40563
1.2989 4.5 1.2964 1.3014 4.08 4.92 40563
2.0039 4.5 2.0014 2.0064 4.08 4.92 40563
END
$boxes << END
0.0957 4.5 0 0.1914 4.08 4.92 15113984
0.3914 4.5 0.1914 0.5914 4.08 4.92 13983232
0.035 1.5 0 0.07 1.08 1.92 29362
0.145 1.5 0.07 0.22 1.08 1.92 15113984
0.37 1.5 0.22 0.52 1.08 1.92 13983232
0.525 1.5 0.52 0.53 1.08 1.92 40563
0.6264 2.5 0.5964 0.6564 2.08 2.92 5682409
0.6464 4.5 0.5964 0.6964 4.08 4.92 29362
0.7964 4.5 0.6964 0.8964 4.08 4.92 15113984
1.0964 4.5 0.8964 1.2964 4.08 4.92 13983232
0.7007 3.5 0.6964 0.705 3.08 3.92 15787074
0.7007 0.5 0.6964 0.705 0.08 0.92 15787074
0.74 1.5 0.705 0.775 1.08 1.92 29362
0.85 1.5 0.775 0.925 1.08 1.92 15113984
1.075 1.5 0.925 1.225 1.08 1.92 13983232
1.23 1.5 1.225 1.235 1.08 1.92 40563
1.3314 2.5 1.3014 1.3614 2.08 2.92 5682409
1.3514 4.5 1.3014 1.4014 4.08 4.92 29362
1.5014 4.5 1.4014 1.6014 4.08 4.92 15113984
1.8014 4.5 1.6014 2.0014 4.08 4.92 13983232
1.4057 3.5 1.4014 1.41 3.08 3.92 15787074
1.4057 0.5 1.4014 1.41 0.08 0.92 15787074
1.445 1.5 1.41 1.48 1.08 1.92 29362
1.555 1.5 1.48 1.63 1.08 1.92 15113984
1.78 1.5 1.63 1.93 1.08 1.92 13983232
1.935 1.5 1.93 1.94 1.08 1.92 40563
2.0364 2.5 2.0064 2.0664 2.08 2.92 5682409
2.0564 4.5 2.0064 2.1064 4.08 4.92 29362
2.1107 4.5 2.1064 2.115 4.08 4.92 15113984
2.1107 3.5 2.1064 2.115 3.08 3.92 15787074
2.1107 0.5 2.1064 2.115 0.08 0.92 15787074
END
plot $boxes using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 border rgb '#ffffff' lc rgb variable notitle, \
    $thin using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 noborder lc rgb variable notitle, \
    NaN with boxes fs solid 1 noborder lc rgb '#56b4e9' title 'load', \
    NaN with boxes fs solid 1 noborder lc rgb '#f0e442' title 'relay', \
    NaN with boxes fs solid 1 noborder lc rgb '#0072b2' title 'teacher', \
    NaN with boxes fs solid 1 noborder lc rgb '#e69f00' title 'forward', \
    NaN with boxes fs solid 1 noborder lc rgb '#d55e00' title 'backward', \
    NaN with boxes fs solid 1 noborder lc rgb '#009e73' title 'update'
unset output
